//! Rows that went and came again.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use super::ChangeKind;
use super::table::Part;
use crate::data::{DeletionVector, Identities, Places, RowId, read_identified};
use crate::error::Result;
use crate::format::Schema;
use crate::id::{FileId, TableId};
use crate::store::Store;

/// Rows by what identifies them: the file that they were first written to, and their positions
/// there.
type Rows = BTreeMap<FileId, DeletionVector>;

/// The rows that are on both sides of a comparison.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Those that are the same on both.
    same: Rows,
    /// Those that are not.
    changed: Rows,
}

impl Pairs {
    /// Compares the rows of `gone` and `came`. A row is the same if one commit gave it its values
    /// on both sides, and that commit is `common` or older, by sequence.
    ///
    /// Reads the identities of rows that carry them, and keeps those that can be on both sides in
    /// bitmaps.
    pub(super) async fn of(
        store: &Store,
        table: TableId,
        gone: &[Part],
        came: &[Part],
        common: u64,
    ) -> Result<Self> {
        // Rows that carry no identity began with their file: if that is newer than what both states
        // have in common, the other has none of them.
        let could_pair = |part: &Part| part.file.carries_identity || part.file.added_at <= common;
        if gone.is_empty() || !came.iter().any(could_pair) {
            return Ok(Self::default());
        }
        let came = came.iter().filter(|part| could_pair(part));
        let came = Identified::of(store, table, came, &|_| true).await?;
        let files = |file: FileId| came.0.contains_key(&file);
        let gone = Identified::of(store, table, gone.iter(), &files).await?;
        let mut pairs = Self::default();
        for (file, came) in came.0 {
            let Some(gone) = gone.0.get(&file) else {
                continue;
            };
            let mut same = DeletionVector::new();
            for (changed_at, rows) in came.range(..=common) {
                if let Some(others) = gone.get(changed_at) {
                    same.union_with(&rows.intersection(others));
                }
            }
            let both = union(&came).intersection(&union(gone));
            let changed = both.difference(&same);
            for (rows, kind) in [(same, &mut pairs.same), (changed, &mut pairs.changed)] {
                if !rows.is_empty() {
                    kind.insert(file, rows);
                }
            }
        }
        Ok(pairs)
    }

    /// What happened to a row of the side that `came` or went; nothing if it is the same on both.
    pub(super) fn kind(&self, row: &RowId, came: bool) -> Option<ChangeKind> {
        let has = |rows: &Rows| {
            let positions = rows.get(&row.file);
            positions.is_some_and(|positions| positions.contains(row.position))
        };
        if has(&self.same) {
            return None;
        }
        Some(match (has(&self.changed), came) {
            (true, true) => ChangeKind::UpdatePostimage,
            (true, false) => ChangeKind::UpdatePreimage,
            (false, true) => ChangeKind::Insert,
            (false, false) => ChangeKind::Delete,
        })
    }

    /// What happened to all rows of a side, if none of them is on the other.
    pub(super) fn only_kind(&self, came: bool) -> Option<ChangeKind> {
        let kind = match came {
            true => ChangeKind::Insert,
            false => ChangeKind::Delete,
        };
        (self.same.is_empty() && self.changed.is_empty()).then_some(kind)
    }
}

fn union(rows: &BTreeMap<u64, DeletionVector>) -> DeletionVector {
    let mut all = DeletionVector::new();
    rows.values().for_each(|rows| all.union_with(rows));
    all
}

/// Rows by what identifies them and by the commit that last changed them.
#[derive(Debug, Default)]
struct Identified(BTreeMap<FileId, BTreeMap<u64, DeletionVector>>);

impl Identified {
    async fn of(
        store: &Store,
        table: TableId,
        parts: impl Iterator<Item = &Part>,
        wanted: &(dyn Fn(FileId) -> bool + Sync),
    ) -> Result<Self> {
        let (mut found, none) = (Self::default(), Schema::empty());
        for part in parts {
            if !part.file.carries_identity {
                if !wanted(part.file.id) {
                    continue;
                }
                let rows = part.rows.positions(part.file.rows);
                found
                    .rows(part.file.id, part.file.added_at)
                    .union_with(&rows);
                continue;
            }
            let (file, rows) = (&part.file, &part.rows);
            let mut batches = read_identified(store, table, file, &none, rows).await?;
            while let Some((_, identities)) = batches.try_next().await? {
                found.add(&identities, wanted)?;
            }
        }
        Ok(found)
    }

    fn rows(&mut self, file: FileId, changed_at: u64) -> &mut DeletionVector {
        let by_commit = self.0.entry(file).or_default();
        by_commit.entry(changed_at).or_default()
    }

    fn add(
        &mut self,
        identities: &Identities,
        wanted: &(dyn Fn(FileId) -> bool + Sync),
    ) -> Result<()> {
        if let (Some((file, added_at)), Places::From(first)) =
            (identities.own(), identities.places())
        {
            if !wanted(file) {
                return Ok(());
            }
            let rows = *first..*first + identities.len() as u64;
            self.rows(file, added_at).insert_range(rows);
            return Ok(());
        }
        for row in 0..identities.len() {
            let origin = identities.origin(row)?;
            if wanted(origin.row.file) {
                let rows = self.rows(origin.row.file, origin.changed_at);
                rows.insert(origin.row.position);
            }
        }
        Ok(())
    }
}
