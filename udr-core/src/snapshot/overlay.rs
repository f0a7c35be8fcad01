//! A transaction's staged changes, as they lie over the catalog of its base.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::data::DeletionVector;
use crate::error::Result;
use crate::format::{
    Constraint, DataFile, ObjectRef, Reference, Schema, Sketches, TableOperation, TableState, View,
    evolved_stats,
};
use crate::id::{FieldId, FileId, TableId};
use crate::name::{NamespaceName, RelationPath};

/// What differs from the base; cloning costs what was staged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlay {
    /// Namespaces that were created (true) or dropped (false).
    pub(crate) namespaces: BTreeMap<NamespaceName, bool>,
    /// Names that stand for something else, or for nothing any more.
    pub(crate) relations: BTreeMap<RelationPath, Option<StagedRelation>>,
    /// Tables that were created or changed, whatever they are called.
    pub(crate) tables: BTreeMap<TableId, StagedTable>,
    /// Foreign keys between tables that came (true) or went (false).
    pub(crate) references: BTreeMap<Reference, bool>,
}

#[derive(Debug, Clone)]
pub(crate) enum StagedRelation {
    Table(TableId),
    View(View),
}

/// A table with what was staged for it.
#[derive(Debug, Clone)]
pub(crate) struct StagedTable {
    /// Its name; none if it was dropped.
    pub(crate) path: Option<RelationPath>,
    /// What it was at the base; none if it was created since.
    pub(crate) base: Option<StagedBase>,
    /// What it was at the base, in terms of the columns that it has by now; none if it has those of
    /// the base.
    evolved: Option<Arc<TableState>>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) constraints: Arc<[Constraint]>,
    /// How its definition changed, if it did: ALTER, or CONSTRAIN.
    pub(crate) altered: Option<TableOperation>,
    /// Whether the rows of the base are gone.
    pub(crate) overwritten: bool,
    /// The files added since, or since the overwrite.
    pub(crate) added: Vec<Arc<DataFile>>,
    /// Rows deleted since, of files of the base and of those added.
    pub(crate) deleted: BTreeMap<FileId, StagedDeletes>,
    /// What was done to its rows.
    pub(crate) operations: BTreeSet<TableOperation>,
    /// What became of the sketches of its columns.
    pub(crate) sketches: StagedSketches,
}

/// What a transaction makes of the sketches of a table.
#[derive(Debug, Clone)]
pub(crate) enum StagedSketches {
    /// Those of the base, if it has any.
    OfBase,
    /// None any more.
    Dropped,
    /// These.
    Counted(Arc<Sketches>),
}

/// Rows of one file that a transaction deletes.
#[derive(Debug, Clone)]
pub(crate) struct StagedDeletes {
    /// The file's entry, below the transaction.
    pub(crate) file: Arc<DataFile>,
    /// The rows; none of them was deleted before.
    pub(crate) rows: Arc<DeletionVector>,
    /// Whether the file was added by the transaction.
    pub(crate) staged: bool,
}

impl StagedDeletes {
    /// Whether no row of the file is left.
    pub(crate) fn all(&self) -> bool {
        self.rows.len() >= self.file.live_rows()
    }
}

/// A table as it is at the base.
#[derive(Debug, Clone)]
pub(crate) struct StagedBase {
    pub(crate) path: RelationPath,
    pub(crate) object: ObjectRef,
    pub(crate) state: Arc<TableState>,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.relations.is_empty() && self.tables.is_empty()
    }
}

impl StagedTable {
    /// A table as it is at the base, nothing staged.
    pub(crate) fn unchanged(path: RelationPath, object: ObjectRef, state: Arc<TableState>) -> Self {
        Self {
            path: Some(path.clone()),
            schema: Arc::new(state.schema.clone()),
            constraints: Arc::from(state.constraints.as_slice()),
            altered: None,
            evolved: None,
            base: Some(StagedBase {
                path,
                object,
                state,
            }),
            overwritten: false,
            added: Vec::new(),
            deleted: BTreeMap::new(),
            operations: BTreeSet::new(),
            sketches: StagedSketches::OfBase,
        }
    }

    /// A table that the base does not have.
    pub(crate) fn created(path: RelationPath, schema: Arc<Schema>) -> Self {
        Self {
            path: Some(path),
            schema,
            constraints: Arc::from([]),
            altered: None,
            evolved: None,
            base: None,
            overwritten: false,
            added: Vec::new(),
            deleted: BTreeMap::new(),
            operations: BTreeSet::new(),
            sketches: StagedSketches::OfBase,
        }
    }

    /// The state below the added files: none if there is none or it was overwritten.
    pub(crate) fn kept(&self) -> Option<&Arc<TableState>> {
        let base = self.base.as_ref().filter(|_| !self.overwritten)?;
        Some(self.evolved.as_ref().unwrap_or(&base.state))
    }

    /// Whether its rows or its definition are other than at the base.
    pub(crate) fn has_changes(&self) -> bool {
        self.changes_rows() || self.altered.is_some()
    }

    /// Whether rows of the base are gone.
    pub(crate) fn removes_rows(&self) -> bool {
        let deletes = || self.deleted.values().any(|deletes| !deletes.staged);
        self.base.is_some() && (self.overwritten || deletes())
    }

    /// Whether it has other rows than at the base.
    pub(crate) fn changes_rows(&self) -> bool {
        self.base.is_none()
            || self.overwritten
            || !self.added.is_empty()
            || !self.deleted.is_empty()
    }

    /// The columns of its keys.
    pub(crate) fn key_columns(&self) -> BTreeSet<FieldId> {
        let keys = self.constraints.iter();
        keys.filter(|constraint| matches!(constraint, Constraint::Unique { .. }))
            .flat_map(|constraint| constraint.columns().iter().copied())
            .collect()
    }

    /// Whether a row has to be more than of the right types.
    pub(crate) fn is_constrained(&self) -> bool {
        !self.constraints.is_empty() || self.schema.fields().iter().any(|f| f.generated.is_some())
    }

    /// Gives it other columns, which its own became; what is known of its rows stays true.
    ///
    /// # Errors
    ///
    /// `Invalid` if a value is none of the type that its column has become of.
    pub(crate) fn evolve(&mut self, schema: Schema) -> Result<()> {
        let old = std::mem::replace(&mut self.schema, Arc::new(schema));
        let new = &self.schema;
        if old == *new {
            return Ok(());
        }
        let entry = |file: &Arc<DataFile>| -> Result<Arc<DataFile>> {
            let mut columns = evolved_stats(&file.columns, &old, new)?;
            let added = new.fields().iter();
            let added = added.filter(|field| old.field_by_id(field.id).is_none());
            columns.extend(added.filter_map(|f| Some((f.id, f.absent_stats(file.rows)?))));
            Ok(Arc::new(DataFile {
                columns,
                ..DataFile::clone(file)
            }))
        };
        for file in &mut self.added {
            *file = entry(file)?;
        }
        for deletes in self.deleted.values_mut() {
            deletes.file = entry(&deletes.file)?;
        }
        if let Some(base) = &self.base {
            let state = self.evolved.as_ref().unwrap_or(&base.state);
            self.evolved = Some(Arc::new(state.evolved(new)?));
        }
        Ok(())
    }

    /// Replaces all rows by those of `files`.
    pub(crate) fn replace(&mut self, files: &[Arc<DataFile>], operation: TableOperation) {
        self.overwritten = self.base.is_some();
        // What they were counted over is gone.
        self.sketches = StagedSketches::Dropped;
        self.added = files.to_vec();
        self.deleted.clear();
        self.operations.clear();
        if self.overwritten {
            self.operations.insert(operation);
        } else if !files.is_empty() {
            self.operations.insert(TableOperation::Append);
        }
    }

    /// How many rows of the base (false) or of added files (true) were deleted since.
    pub(crate) fn deleted_rows(&self, staged: bool) -> u64 {
        let of = self.deleted.values().filter(|d| d.staged == staged);
        of.map(|deletes| deletes.rows.len()).sum()
    }

    /// The files of which no row is left since.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &StagedDeletes> {
        self.deleted.values().filter(|deletes| deletes.all())
    }
}
