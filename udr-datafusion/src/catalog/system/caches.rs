//! `udr.cache_stats`.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use udr_core::store::{CacheKind, CacheStats, Store};
use udr_core::{Error, Result};

/// The columns of `udr.cache_stats`.
pub(super) fn cache_stats_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let count = |name: &str| Field::new(name, DataType::UInt64, false);
        Arc::new(Schema::new(vec![
            Field::new("cache", DataType::Utf8, false),
            Field::new("kind", DataType::Utf8, false),
            count("hits"),
            count("misses"),
            Field::new("hit_rate", DataType::Float64, true),
            count("entries"),
            count("bytes"),
            count("bytes_max"),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// How the caches of a store fared, by what they keep.
///
/// # Errors
///
/// `Internal` if the figures do not fit their schema.
pub(super) fn cache_stats_batch(store: &Store) -> Result<RecordBatch> {
    let kinds = CacheKind::ALL.iter();
    let memory = kinds.map(|kind| ("memory", kind.as_str(), store.cache_stats(*kind)));
    let mut limits = vec![store.cache_bytes(); CacheKind::ALL.len()];
    let mut kinds = memory.collect::<Vec<_>>();
    if let Some((stats, limit)) = store.disk_cache_stats() {
        kinds.push(("disk", "data", stats));
        limits.push(limit);
    }
    let texts = |text: &dyn Fn(&(&'static str, &'static str, CacheStats)) -> &'static str| {
        Arc::new(StringArray::from_iter_values(kinds.iter().map(text))) as ArrayRef
    };
    let counts = |count: &dyn Fn(&CacheStats) -> u64| {
        let counts = kinds.iter().map(|(_, _, stats)| count(stats));
        Arc::new(UInt64Array::from_iter_values(counts)) as ArrayRef
    };
    let rates = kinds.iter().map(|(_, _, stats)| hit_rate(stats));
    let columns: Vec<ArrayRef> = vec![
        texts(&|row| row.0),
        texts(&|row| row.1),
        counts(&|stats| stats.hits),
        counts(&|stats| stats.misses),
        Arc::new(Float64Array::from_iter(rates)),
        counts(&|stats| stats.entries),
        counts(&|stats| stats.bytes),
        Arc::new(UInt64Array::from_iter_values(limits)),
    ];
    RecordBatch::try_new(cache_stats_schema(), columns)
        .map_err(|e| Error::internal("the caches do not fit their schema").with_source(e))
}

#[expect(clippy::cast_precision_loss, reason = "it is a share")]
fn hit_rate(stats: &CacheStats) -> Option<f64> {
    let asked = stats.hits + stats.misses;
    (asked > 0).then(|| stats.hits as f64 / asked as f64)
}
