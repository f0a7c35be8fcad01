//! What is known of a column's values in a file, a manifest or a table (invariant 5).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Schema, Type, Value};
use crate::error::Result;
use crate::id::FieldId;

/// A limit that no value passes. NULLs have no part in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The limit.
    pub value: Value,
    /// Whether a row has exactly this value. False where it was truncated or widened.
    pub exact: bool,
}

/// Statistics of one column; whatever is absent is unknown, and nothing present is wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnStats {
    /// No value is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<Bound>,
    /// No value is greater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<Bound>,
    /// How many rows are NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_count: Option<u64>,
    /// What the values of an integer or decimal column add up to, unscaled; 0 of none. At most 38
    /// digits.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "sum_text")]
    pub sum: Option<i128>,
}

impl ColumnStats {
    /// The most that a sum can be, in either direction.
    const SUM_MAX: u128 = 10u128.pow(38) - 1;

    /// A sum that can be stored.
    pub(crate) fn storable_sum(sum: i128) -> Option<i128> {
        (sum.unsigned_abs() <= Self::SUM_MAX).then_some(sum)
    }

    /// What is known of the rows of both; `rows` are those that `self` and `other` describe.
    ///
    /// A side whose rows are all NULL has no bounds and does not widen the other's.
    #[must_use]
    pub fn union(&self, rows: u64, other: &Self, other_rows: u64) -> Self {
        let all_null = |stats: &Self, rows: u64| stats.null_count == Some(rows);
        let (lower, upper) = if all_null(self, rows) {
            (other.lower.clone(), other.upper.clone())
        } else if all_null(other, other_rows) {
            (self.lower.clone(), self.upper.clone())
        } else {
            (
                pick(self.lower.as_ref(), other.lower.as_ref(), Ordering::Less),
                pick(self.upper.as_ref(), other.upper.as_ref(), Ordering::Greater),
            )
        };
        let null_count = match (self.null_count, other.null_count) {
            (Some(a), Some(b)) => a.checked_add(b),
            _ => None,
        };
        let sum = self.sum.zip(other.sum);
        let sum = sum.and_then(|(a, b)| a.checked_add(b));
        Self {
            lower,
            upper,
            null_count,
            sum: sum.and_then(Self::storable_sum),
        }
    }
}

impl ColumnStats {
    /// What is known of a column that was of type `from`, now that it is of type `to`.
    ///
    /// # Errors
    ///
    /// `Invalid` if a bound is no value of that type.
    pub(crate) fn widened(&self, from: &Type, to: &Type) -> Result<Self> {
        let widened = |bound: &Option<Bound>| {
            let bound = bound.as_ref().map(|bound| {
                Ok(Bound {
                    value: bound.value.widened(from, to)?,
                    exact: bound.exact,
                })
            });
            bound.transpose()
        };
        Ok(Self {
            lower: widened(&self.lower)?,
            upper: widened(&self.upper)?,
            null_count: self.null_count,
            sum: self.sum,
        })
    }
}

/// What is known of the columns of `old`, as the columns of `new`, which it became.
///
/// # Errors
///
/// `Invalid` if a bound is no value of the type that a column has become of.
pub(crate) fn evolved_stats(
    columns: &BTreeMap<FieldId, ColumnStats>,
    old: &Schema,
    new: &Schema,
) -> Result<BTreeMap<FieldId, ColumnStats>> {
    let known = columns.iter().filter_map(|(id, stats)| {
        let (from, to) = (old.measured_by_id(*id)?, new.measured_by_id(*id)?);
        Some(stats.widened(&from.ty, &to.ty).map(|stats| (*id, stats)))
    });
    known.collect()
}

/// The outer of two bounds, if both are known and comparable.
fn pick(a: Option<&Bound>, b: Option<&Bound>, outer: Ordering) -> Option<Bound> {
    let (a, b) = (a?, b?);
    let order = a.value.compare(&b.value)?;
    Some(match order {
        Ordering::Equal => Bound {
            value: a.value.clone(),
            exact: a.exact || b.exact,
        },
        order if order == outer => a.clone(),
        _ => b.clone(),
    })
}

/// The statistics of several parts together; a column that a part says nothing of is left out.
pub fn merge_column_stats<'a>(
    parts: impl IntoIterator<Item = (u64, &'a BTreeMap<FieldId, ColumnStats>)>,
) -> BTreeMap<FieldId, ColumnStats> {
    let mut parts = parts.into_iter().filter(|(rows, _)| *rows > 0);
    let Some((mut rows, first)) = parts.next() else {
        return BTreeMap::new();
    };
    let mut merged = first.clone();
    for (more, columns) in parts {
        merged = merged
            .into_iter()
            .filter_map(|(id, stats)| {
                columns
                    .get(&id)
                    .map(|other| (id, stats.union(rows, other, more)))
            })
            .collect();
        rows += more;
    }
    merged
}

/// What still holds of the columns of `rows` rows once `deleted` of them are gone.
///
/// Bounds hold, but no row need have the value any more. A null count holds if it says that no row
/// is NULL, or every one. A sum does not.
pub fn live_column_stats(
    rows: u64,
    deleted: u64,
    columns: &BTreeMap<FieldId, ColumnStats>,
) -> BTreeMap<FieldId, ColumnStats> {
    if deleted == 0 {
        return columns.clone();
    }
    let inexact = |bound: &Option<Bound>| {
        bound.clone().map(|bound| Bound {
            exact: false,
            ..bound
        })
    };
    columns
        .iter()
        .map(|(id, stats)| {
            let live = ColumnStats {
                lower: inexact(&stats.lower),
                upper: inexact(&stats.upper),
                null_count: match stats.null_count {
                    Some(0) => Some(0),
                    Some(nulls) if nulls == rows => rows.checked_sub(deleted),
                    _ => None,
                },
                sum: None,
            };
            (*id, live)
        })
        .collect()
}

/// Numbers of 128 bits are text, as those of bounds are.
mod sum_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(
        sum: &Option<i128>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match sum {
            Some(sum) => serializer.collect_str(sum),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<i128>, D::Error> {
        let sum = String::deserialize(deserializer)?;
        sum.parse().map(Some).map_err(D::Error::custom)
    }
}
