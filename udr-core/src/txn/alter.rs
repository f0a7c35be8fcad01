//! ALTER TABLE: constraints, NOT NULL, defaults.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{
    Constraint, Field, NewColumn, Position, Reference, Schema, Sketches, SortField, TableOperation,
    Transform, Type,
};
use crate::id::{FieldId, TableId};
use crate::name::RelationPath;
use crate::snapshot::Snapshot;
use crate::snapshot::overlay::{Overlay, StagedSketches, StagedTable};

/// One change of a table's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// Adds a constraint; a primary key makes its columns NOT NULL.
    AddConstraint(Constraint),
    /// Drops the constraint of this name.
    DropConstraint(String),
    /// Refuses NULL in a column.
    SetNotNull(FieldId),
    /// Allows NULL in a column.
    DropNotNull(FieldId),
    /// Gives a column a default, as SQL.
    SetDefault(FieldId, String),
    /// Takes the default of a column away.
    DropDefault(FieldId),
    /// Adds a column, or a part to a struct.
    AddColumn(NewColumn),
    /// Drops a column, or a part of a struct.
    DropColumn(FieldId),
    /// Gives a column, or a part of a struct, another name.
    RenameColumn(FieldId, String),
    /// Moves a column among the others, or a part of a struct among its others.
    MoveColumn(FieldId, Position),
    /// Makes a column, or a part of one, of a wider type; see [`Type::widens_to`].
    WidenColumn(FieldId, Type),
    /// Says what a column means, or no more.
    SetComment(FieldId, Option<String>),
    /// Says about how many values a column has.
    SetDistinct(FieldId, u64),
    /// Keeps sketches of the values of its columns in the place of those there are.
    SetSketches(Arc<Sketches>),
    /// Puts rows that are written from now on apart by what a transform makes of a column; without
    /// a name it gets the column's and the transform's.
    AddPartitionField {
        /// The column.
        source: FieldId,
        /// How its values become those of the field.
        transform: Transform,
        /// What the field is called.
        name: Option<String>,
    },
    /// Does not put rows apart by this field any more.
    DropPartitionField(FieldId),
    /// Sorts rows by these columns before they are written.
    SortBy(Vec<SortField>),
    /// Gives data files that are written from now on bloom filters for these columns, beside those
    /// of keys, and for no others.
    BloomFilters(Vec<FieldId>),
}

impl Alteration {
    /// What happens to the table: whether rows that were fine may be so no more.
    pub(super) fn operation(&self) -> TableOperation {
        match self {
            Self::AddConstraint(_) | Self::SetNotNull(_) => TableOperation::Constrain,
            Self::WidenColumn(..) => TableOperation::Evolve,
            Self::DropConstraint(_)
            | Self::DropNotNull(_)
            | Self::SetDefault(..)
            | Self::DropDefault(_)
            | Self::AddColumn(_)
            | Self::DropColumn(_)
            | Self::RenameColumn(..)
            | Self::MoveColumn(..)
            | Self::SetComment(..)
            | Self::SetDistinct(..)
            | Self::SetSketches(_)
            | Self::AddPartitionField { .. }
            | Self::DropPartitionField(_)
            | Self::SortBy(_)
            | Self::BloomFilters(_) => TableOperation::Alter,
        }
    }
}

/// What several changes do to the table: the most that one of them does.
pub(super) fn operation(alterations: &[Alteration]) -> TableOperation {
    let operations = alterations.iter().map(Alteration::operation);
    operations.max().unwrap_or(TableOperation::Alter)
}

/// Stages changes of the definition of `table`.
pub(super) async fn apply(
    snapshot: &Snapshot,
    overlay: &mut Overlay,
    id: TableId,
    mut table: StagedTable,
    alterations: &[Alteration],
) -> Result<()> {
    let mut definition = Definition {
        snapshot,
        id,
        schema: table.schema.as_ref().clone(),
        constraints: table.constraints.to_vec(),
        sketches: table.sketches.clone(),
    };
    for alteration in alterations {
        definition.apply(alteration).await?;
    }
    definition.schema.check(&Error::invalid)?;
    definition.schema.to_parquet()?;
    Constraint::check_all(&definition.constraints, &definition.schema, &Error::invalid)?;
    definition.check_foreign_keys().await?;
    let parents = |constraints: &[Constraint]| {
        let parents = constraints.iter().filter_map(Constraint::parent);
        parents.collect::<BTreeSet<_>>()
    };
    let (before, after) = (
        parents(&table.constraints),
        parents(&definition.constraints),
    );
    for parent in before.symmetric_difference(&after) {
        let reference = Reference {
            child: id,
            parent: *parent,
        };
        overlay.references.insert(reference, after.contains(parent));
    }
    table.evolve(definition.schema)?;
    table.constraints = Arc::from(definition.constraints);
    table.sketches = definition.sketches;
    table.altered = table.altered.max(Some(operation(alterations)));
    overlay.tables.insert(id, table);
    Ok(())
}

/// Stages that a table that is dropped has no foreign keys any more.
///
/// # Errors
///
/// `Invalid` if another table has one to it.
pub(super) fn forget_references(
    snapshot: &Snapshot,
    overlay: &mut Overlay,
    path: &RelationPath,
    id: TableId,
) -> Result<()> {
    for reference in snapshot.catalog().references() {
        if reference.parent == id && reference.child != id {
            return Err(Error::invalid("another table has a foreign key to it")
                .with("table", path)
                .with_hint("drop that foreign key or its table first"));
        }
        if reference.child == id {
            overlay.references.insert(reference, false);
        }
    }
    Ok(())
}

/// A table's definition while it is changed.
struct Definition<'a> {
    snapshot: &'a Snapshot,
    id: TableId,
    schema: Schema,
    constraints: Vec<Constraint>,
    sketches: StagedSketches,
}

impl Definition<'_> {
    async fn apply(&mut self, alteration: &Alteration) -> Result<()> {
        match alteration {
            Alteration::AddConstraint(constraint) => self.add(constraint),
            Alteration::DropConstraint(name) => self.drop_constraint(name).await,
            Alteration::SetNotNull(column) => {
                self.field(*column)?.nullable = false;
                Ok(())
            }
            // A primary key's column is found by the check of all constraints.
            Alteration::DropNotNull(column) => {
                self.field(*column)?.nullable = true;
                Ok(())
            }
            Alteration::SetDefault(column, sql) => {
                self.field(*column)?.default = Some(sql.clone());
                Ok(())
            }
            Alteration::DropDefault(column) => {
                self.field(*column)?.default = None;
                Ok(())
            }
            Alteration::AddColumn(column) => self.schema.add_column(column),
            Alteration::DropColumn(column) => {
                self.refuse_use(*column, "dropped")?;
                self.refuse_key(*column)?;
                self.schema.drop_column(*column)
            }
            Alteration::RenameColumn(column, name) => {
                self.refuse_use(*column, "renamed")?;
                self.schema.rename_column(*column, name)
            }
            Alteration::MoveColumn(column, position) => self.schema.move_column(*column, *position),
            Alteration::WidenColumn(column, ty) => self.widen(*column, ty).await,
            Alteration::SetComment(column, comment) => {
                self.schema.comment_on(*column, comment.as_deref())
            }
            Alteration::SetDistinct(column, count) => self.schema.count_distinct(*column, *count),
            Alteration::SetSketches(sketches) => {
                sketches.check(&self.schema, &Error::invalid)?;
                self.sketches = StagedSketches::Counted(Arc::clone(sketches));
                Ok(())
            }
            Alteration::AddPartitionField {
                source,
                transform,
                name,
            } => {
                let name = name.as_deref();
                self.schema.add_partition_field(*source, *transform, name)
            }
            Alteration::DropPartitionField(field) => self.schema.drop_partition_field(*field),
            Alteration::SortBy(fields) => {
                self.schema.sort_by(fields.clone());
                Ok(())
            }
            Alteration::BloomFilters(columns) => {
                self.schema.filter_by(columns.clone());
                Ok(())
            }
        }
    }

    fn add(&mut self, constraint: &Constraint) -> Result<()> {
        let name = constraint.name();
        if self.constraints.iter().any(|known| known.name() == name) {
            return Err(
                Error::already_exists("the table has a constraint of this name")
                    .with("constraint", name),
            );
        }
        if let Constraint::Unique {
            columns,
            primary: true,
            ..
        } = constraint
        {
            for column in columns {
                self.field(*column)?.nullable = false;
            }
        }
        self.constraints.push(constraint.clone());
        Ok(())
    }

    async fn drop_constraint(&mut self, name: &str) -> Result<()> {
        let place = self.constraints.iter().position(|c| c.name() == name);
        let Some(place) = place else {
            return Err(Error::not_found("the table has no such constraint")
                .with("constraint", name)
                .with("has", self.names()));
        };
        let dropped = self.constraints.remove(place);
        if !matches!(dropped, Constraint::Unique { .. }) {
            return Ok(());
        }
        // A foreign key of the table to itself is looked at together with all of its own.
        for child in self.snapshot.children(self.id) {
            let Some(child) = self.snapshot.table_by_id(child).await? else {
                continue;
            };
            for constraint in child.constraints().iter().filter(|_| child.id() != self.id) {
                if !self.has_key_of(constraint) {
                    return Err(Error::invalid("a foreign key needs this key")
                        .with("constraint", name)
                        .with("foreign_key", constraint.name())
                        .with("of", child.path())
                        .with_hint("drop the foreign key first"));
                }
            }
        }
        Ok(())
    }

    /// Whether the table still has the key that a constraint of a child leads to.
    fn has_key_of(&self, constraint: &Constraint) -> bool {
        match constraint {
            Constraint::ForeignKey {
                parent,
                parent_columns,
                ..
            } if *parent == self.id => {
                let mut keys = self.constraints.iter();
                keys.any(|key| key.is_key_of(parent_columns))
            }
            _ => true,
        }
    }

    /// Every foreign key leads to columns of the same types that are a key.
    async fn check_foreign_keys(&self) -> Result<()> {
        for constraint in &self.constraints {
            let Constraint::ForeignKey {
                columns,
                parent,
                parent_columns,
                ..
            } = constraint
            else {
                continue;
            };
            let other;
            let (schema, keys) = if *parent == self.id {
                (&self.schema, self.constraints.as_slice())
            } else {
                other = self.snapshot.table_by_id(*parent).await?.ok_or_else(|| {
                    Error::not_found("the table that a foreign key leads to is not there")
                        .with("constraint", constraint.name())
                        .with("table_id", parent)
                })?;
                (other.schema(), other.constraints())
            };
            let refuse = |why: &str| Error::invalid(why).with("constraint", constraint.name());
            if !keys.iter().any(|key| key.is_key_of(parent_columns)) {
                return Err(refuse("a foreign key leads to columns that are no key")
                    .with_hint("give the parent a PRIMARY KEY or UNIQUE constraint of them"));
            }
            for (column, parent_column) in columns.iter().zip(parent_columns) {
                let of = |schema: &Schema, id| schema.field_by_id(id).map(|f: &Field| f.ty.clone());
                if of(&self.schema, *column) != of(schema, *parent_column) {
                    return Err(refuse(
                        "a foreign key has another type than its parent's key",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Refuses to touch a column that an expression names. Expressions are the engine's to read, so
    /// that a word that is the column's name is enough.
    fn refuse_use(&self, id: FieldId, what: &str) -> Result<()> {
        let Some(field) = self.schema.find(id) else {
            return Ok(());
        };
        let refuse = |user: &str, hint: &str| {
            Err(
                Error::invalid(format!("a column cannot be {what} while it is used"))
                    .with("column", &field.name)
                    .with("by", user)
                    .with_hint(hint),
            )
        };
        for constraint in &self.constraints {
            if let Constraint::Check { name, sql } = constraint
                && mentions(sql, &field.name)
            {
                return refuse(name, "drop the constraint first");
            }
        }
        for other in self.schema.fields() {
            let sql = other.generated.as_deref();
            if sql.is_some_and(|sql| mentions(sql, &field.name)) {
                return refuse(&other.name, "drop the generated column first");
            }
        }
        Ok(())
    }

    /// Refuses to drop a column of a key.
    fn refuse_key(&self, id: FieldId) -> Result<()> {
        let of_key = |constraint: &&Constraint| constraint.columns().contains(&id);
        match self.constraints.iter().find(of_key) {
            None => Ok(()),
            Some(constraint) => Err(Error::invalid("a constraint needs the column")
                .with("constraint", constraint.name())
                .with_hint("drop the constraint first")),
        }
    }

    async fn widen(&mut self, id: FieldId, to: &Type) -> Result<()> {
        let from = self.schema.find(id).map(|field| field.ty.clone());
        self.schema.widen_column(id, to)?;
        if from == Some(Type::Date32) {
            self.check_dates(id, to).await?;
        }
        for child in self.snapshot.children(self.id) {
            let Some(child) = self.snapshot.table_by_id(child).await? else {
                continue;
            };
            let leads_here = |constraint: &&Constraint| {
                matches!(constraint, Constraint::ForeignKey { parent, parent_columns, .. }
                    if *parent == self.id && parent_columns.contains(&id))
            };
            if let Some(key) = child.constraints().iter().find(leads_here) {
                return Err(Error::invalid("a foreign key has the column's type")
                    .with("constraint", key.name())
                    .with("of", child.path())
                    .with_hint("drop the foreign key, widen both columns, and add it again"));
            }
        }
        Ok(())
    }

    /// Refuses dates that are no timestamps of `to`.
    async fn check_dates(&self, id: FieldId, to: &Type) -> Result<()> {
        let Some(table) = self.snapshot.table_by_id(self.id).await? else {
            return Ok(());
        };
        if table.rows() == 0 {
            return Ok(());
        }
        let known = table.column_stats();
        let stats = known.get(&id);
        let bounds = stats.and_then(|stats| stats.lower.as_ref().zip(stats.upper.as_ref()));
        match (bounds, stats.and_then(|stats| stats.null_count)) {
            (Some((lower, upper)), _) => {
                lower.value.widened(&Type::Date32, to)?;
                upper.value.widened(&Type::Date32, to).map(|_| ())
            }
            (None, Some(nulls)) if nulls == table.rows() => Ok(()),
            _ => Err(
                Error::unsupported("it is not known how far the dates of a column reach")
                    .with("column", id)
                    .with_hint("add a column of the new type, UPDATE it, and drop this one"),
            ),
        }
    }

    fn field(&mut self, id: FieldId) -> Result<&mut Field> {
        self.schema
            .field_mut(id)
            .ok_or_else(|| Error::not_found("no such column").with("column", id))
    }

    fn names(&self) -> String {
        let names = self.constraints.iter().map(Constraint::name);
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Whether an expression has a word that is `name`, in capitals or not.
fn mentions(sql: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if name.chars().all(is_word) {
        let mut words = sql.split(|c| !is_word(c));
        return words.any(|word| word.to_lowercase() == name.to_lowercase());
    }
    sql.to_lowercase().contains(&name.to_lowercase())
}
