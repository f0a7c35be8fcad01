//! One table at one commit: its schema and the top of its manifest tree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ColumnStats, Constraint, Manifest, ManifestRef, ObjectRef, Schema, Stored, Within,
    evolved_stats, live_column_stats, merge_column_stats,
};
use crate::error::{Error, Result};
use crate::id::{FieldId, TableId};

/// One table at one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableState {
    /// Which table.
    pub id: TableId,
    /// Its columns.
    pub schema: Schema,
    /// Rows in all data files that are not deleted.
    pub rows: u64,
    /// Bytes of all data files.
    pub bytes: u64,
    /// How many data files there are.
    pub files: u64,
    /// The top of the manifest tree, oldest data first.
    pub manifests: Vec<ManifestRef>,
    /// What its rows must be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Settings of the table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// The [`Sketches`](super::Sketches) of the values of its columns, as far as they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketches: Option<ObjectRef>,
}

impl TableState {
    /// The most references at the top of the manifest tree.
    pub const MANIFESTS_MAX: usize = 64;

    /// A table without rows.
    pub fn empty(id: TableId, schema: Schema) -> Self {
        Self {
            id,
            schema,
            rows: 0,
            bytes: 0,
            files: 0,
            manifests: Vec::new(),
            constraints: Vec::new(),
            properties: BTreeMap::new(),
            sketches: None,
        }
    }

    /// What is known of each column over all rows that are not deleted.
    pub fn column_stats(&self) -> BTreeMap<FieldId, ColumnStats> {
        let parts = self
            .manifests
            .iter()
            .map(|m| {
                let live = m.rows.saturating_sub(m.deleted);
                (live, live_column_stats(m.rows, m.deleted, &m.columns))
            })
            .collect::<Vec<_>>();
        merge_column_stats(parts.iter().map(|(rows, columns)| (*rows, columns)))
    }

    /// The same table with other columns, which its own became.
    ///
    /// # Errors
    ///
    /// `Invalid` if a value is none of the type that its column has become of.
    pub(crate) fn evolved(&self, schema: &Schema) -> Result<Self> {
        let mut state = self.clone();
        for manifest in &mut state.manifests {
            manifest.columns = evolved_stats(&manifest.columns, &self.schema, schema)?;
            let added = schema.fields().iter();
            let added = added.filter(|field| self.schema.field_by_id(field.id).is_none());
            let known = added.filter_map(|f| Some((f.id, f.absent_stats(manifest.rows)?)));
            manifest.columns.extend(known);
        }
        state.schema = schema.clone();
        Ok(state)
    }

    /// Rows in all data files that are deleted.
    pub fn deleted_rows(&self) -> u64 {
        self.manifests.iter().map(|m| m.deleted).sum()
    }
}

impl Stored for TableState {
    const KIND: &'static str = "table_state";

    fn validate(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::corrupt(why.to_owned()).with("table", self.id));
        self.schema.validate()?;
        Constraint::check_all(&self.constraints, &self.schema, &Error::corrupt)
            .map_err(|error| error.with("table", self.id))?;
        if self.manifests.len() > Self::MANIFESTS_MAX {
            return refuse("a table has too many manifests at the top");
        }
        let sum = |part: fn(&ManifestRef) -> u64| {
            self.manifests
                .iter()
                .try_fold(0u64, |total, m| total.checked_add(part(m)))
        };
        if !self.manifests.is_sorted_by(|a, b| a.level >= b.level) {
            return refuse("the manifests of a table are out of order");
        }
        let entries = 1..=Manifest::ENTRIES_MAX;
        let is_sized = |m: &ManifestRef| {
            m.level <= Manifest::LEVEL_MAX && entries.contains(&(m.entries as usize))
        };
        if !self.manifests.iter().all(is_sized) {
            return refuse("a manifest has a size or a level that none can have");
        }
        if self.manifests.iter().any(|m| m.deleted > m.rows) {
            return refuse("a manifest has more deleted rows than rows");
        }
        if sum(|m| m.rows - m.deleted) != Some(self.rows)
            || sum(|m| m.data_bytes) != Some(self.bytes)
            || sum(|m| m.files) != Some(self.files)
        {
            return refuse("the sizes of a table are not those of its manifests");
        }
        Ok(())
    }

    fn settle(&mut self, home: Option<Within>) -> Result<()> {
        let manifests = self.manifests.iter_mut();
        let mut objects = manifests
            .map(|manifest| &mut manifest.object)
            .chain(&mut self.sketches);
        objects.try_for_each(|object| object.settle(home))
    }
}
