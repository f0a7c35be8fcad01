//! A table whose columns change at random reads the same through every version, whatever is asked.
//!
//! The model knows of each row what it has in each column by id, so that a name used again, a value
//! of a narrower type or a part of a struct that came later must be found where it belongs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::util::display::array_value_to_string;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use udr_datafusion::{InstallOptions, install, udr_sql};

use crate::world::{check, create, open};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `SMALLINT`, `INT`, `BIGINT`
    Int(u8),
    /// `FLOAT`, `DOUBLE`
    Float(u8),
    /// Digits.
    Decimal(u8),
    /// `DATE`, `TIMESTAMP`
    Date(u8),
    Text,
    Struct,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Int(0),
        Self::Float(0),
        Self::Decimal(5),
        Self::Date(0),
        Self::Text,
        Self::Struct,
    ];

    fn wider(self) -> Option<Self> {
        Some(match self {
            Self::Int(level) if level < 2 => Self::Int(level + 1),
            Self::Float(0) => Self::Float(1),
            Self::Decimal(digits) if digits < 20 => Self::Decimal(digits + 6),
            Self::Date(0) => Self::Date(1),
            _ => return None,
        })
    }

    fn sql(self) -> String {
        match self {
            Self::Int(level) => ["SMALLINT", "INT", "BIGINT"][usize::from(level)].to_owned(),
            Self::Float(level) => ["FLOAT", "DOUBLE"][usize::from(level)].to_owned(),
            Self::Decimal(digits) => format!("DECIMAL({digits}, 2)"),
            Self::Date(level) => ["DATE", "TIMESTAMP"][usize::from(level)].to_owned(),
            Self::Text => "VARCHAR".to_owned(),
            Self::Struct => "STRUCT<p INT>".to_owned(),
        }
    }

    /// The value number `n`, in SQL.
    fn literal(self, n: u8) -> String {
        let value = match self {
            Self::Int(_) => format!("{n}"),
            Self::Float(_) => format!("{n}.5"),
            Self::Decimal(_) => format!("{n}.25"),
            Self::Date(_) => format!("'2024-01-{:02}'", n + 1),
            Self::Text | Self::Struct => format!("'w{n}'"),
        };
        format!("CAST({value} AS {})", self.sql())
    }

    /// The value number `n`, as it is shown.
    fn shown(self, n: u8) -> String {
        match self {
            Self::Int(_) => format!("{n}"),
            Self::Float(_) => format!("{n}.5"),
            Self::Decimal(_) => format!("{n}.25"),
            Self::Date(0) => format!("2024-01-{:02}", n + 1),
            Self::Date(_) => format!("2024-01-{:02}T00:00:00", n + 1),
            Self::Text | Self::Struct => format!("w{n}"),
        }
    }
}

#[derive(Debug, Clone)]
struct Part {
    id: u32,
    name: String,
    level: u8,
}

#[derive(Debug, Clone)]
struct Column {
    id: u32,
    name: String,
    kind: Kind,
    parts: Vec<Part>,
}

/// What a row has in a column: a value, or a struct whose parts have values.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell {
    Value(u8),
    Struct(BTreeMap<u32, u8>),
}

#[derive(Debug, Clone, Default)]
struct Row {
    id: u32,
    cells: BTreeMap<u32, Cell>,
}

#[derive(Debug, Clone, Default)]
struct Model {
    columns: Vec<Column>,
    rows: Vec<Row>,
    last_id: u32,
    last_row: u32,
}

/// A change; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Add(u8, Option<u8>, u8, u8),
    Drop(u8),
    Rename(u8, u8),
    Move(u8, u8),
    Widen(u8),
    AddPart(u8, u8),
    DropPart(u8, u8),
    RenamePart(u8, u8, u8),
    WidenPart(u8, u8),
    Insert(u8, u8),
    Update(u8, u8, Option<u8>),
    Delete(u8),
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "Camel x"];

fn step() -> impl Strategy<Value = Step> {
    let n = 0u8..28;
    let any = any::<u8>();
    prop_oneof![
        4 => (any, proptest::option::of(n.clone()), any, any).prop_map(|(k, d, n, p)| Step::Add(k, d, n, p)),
        2 => any.prop_map(Step::Drop),
        3 => (any, any).prop_map(|(c, n)| Step::Rename(c, n)),
        1 => (any, any).prop_map(|(c, p)| Step::Move(c, p)),
        4 => any.prop_map(Step::Widen),
        2 => (any, any).prop_map(|(c, n)| Step::AddPart(c, n)),
        1 => (any, any).prop_map(|(c, p)| Step::DropPart(c, p)),
        2 => (any, any, any).prop_map(|(c, p, n)| Step::RenamePart(c, p, n)),
        1 => (any, any).prop_map(|(c, p)| Step::WidenPart(c, p)),
        6 => (any, n.clone()).prop_map(|(k, n)| Step::Insert(k, n)),
        3 => (any, any, proptest::option::of(n)).prop_map(|(c, m, n)| Step::Update(c, m, n)),
        1 => any.prop_map(Step::Delete),
    ]
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

impl Column {
    fn literal(&self, cell: Option<&Cell>) -> String {
        match cell {
            None => "NULL".to_owned(),
            Some(Cell::Value(n)) => self.kind.literal(*n),
            Some(Cell::Struct(values)) => {
                let parts = self.parts.iter().map(|part| {
                    let value = values.get(&part.id).map(ToString::to_string);
                    let value = value.unwrap_or("NULL".to_owned());
                    let ty = Kind::Int(part.level).sql();
                    format!("'{}', CAST({value} AS {ty})", part.name)
                });
                let parts = parts.collect::<Vec<_>>();
                format!("named_struct({})", parts.join(", "))
            }
        }
    }

    fn shown(&self, cell: Option<&Cell>) -> String {
        match cell {
            None => String::new(),
            Some(Cell::Value(n)) => self.kind.shown(*n),
            Some(Cell::Struct(values)) => {
                let parts = self.parts.iter().map(|part| {
                    let value = values.get(&part.id).map(ToString::to_string);
                    format!("{}: {}", part.name, value.unwrap_or_default())
                });
                format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn cell(&self, n: u8) -> Cell {
        match self.kind {
            Kind::Struct => {
                let some = self
                    .parts
                    .iter()
                    .filter(|part| (part.id + u32::from(n)) % 4 > 0);
                Cell::Struct(some.map(|part| (part.id, n)).collect())
            }
            _ => Cell::Value(n),
        }
    }
}

impl Model {
    fn id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    fn column(&self, n: u8) -> Option<usize> {
        (!self.columns.is_empty()).then(|| usize::from(n) % self.columns.len())
    }

    fn structs(&self, n: u8) -> Option<usize> {
        let structs = self.columns.iter().enumerate();
        let structs = structs.filter(|(_, c)| c.kind == Kind::Struct);
        let structs = structs.map(|(at, _)| at).collect::<Vec<_>>();
        (!structs.is_empty()).then(|| structs[usize::from(n) % structs.len()])
    }

    fn free_name(&self, n: u8) -> Option<&'static str> {
        let name = NAMES[usize::from(n) % NAMES.len()];
        (!self.columns.iter().any(|c| c.name == name)).then_some(name)
    }

    /// Does what a step says, and says it in SQL; nothing if it cannot be done here.
    fn apply(&mut self, step: &Step) -> Option<String> {
        match *step {
            Step::Add(kind, default, name, place) => self.add(kind, default, name, place),
            Step::Drop(column) => {
                let dropped = self.columns.remove(self.column(column)?);
                Some(format!(
                    "ALTER TABLE t DROP COLUMN {}",
                    quoted(&dropped.name)
                ))
            }
            Step::Rename(column, name) => {
                let (at, name) = (self.column(column)?, self.free_name(name)?);
                let old = std::mem::replace(&mut self.columns[at].name, name.to_owned());
                let (old, new) = (quoted(&old), quoted(name));
                Some(format!("ALTER TABLE t RENAME COLUMN {old} TO {new}"))
            }
            Step::Move(column, place) => {
                let column = self.columns.remove(self.column(column)?);
                let at = usize::from(place) % (self.columns.len() + 1);
                let behind = match at.checked_sub(1) {
                    None => "id".to_owned(),
                    Some(before) => quoted(&self.columns[before].name),
                };
                let name = quoted(&column.name);
                self.columns.insert(at, column);
                Some(format!("ALTER TABLE t ALTER COLUMN {name} AFTER {behind}"))
            }
            Step::Widen(column) => {
                let at = self.column(column)?;
                let column = &mut self.columns[at];
                column.kind = column.kind.wider()?;
                let (name, ty) = (quoted(&column.name), column.kind.sql());
                Some(format!("ALTER TABLE t ALTER COLUMN {name} TYPE {ty}"))
            }
            Step::Insert(count, n) => Some(self.insert(count % 4 + 1, n)),
            Step::Update(column, modulo, n) => {
                let at = self.column(column)?;
                let column = self.columns[at].clone();
                let (m, cell) = (u32::from(modulo % 3 + 1), n.map(|n| column.cell(n)));
                for row in self.rows.iter_mut().filter(|row| row.id % m == 0) {
                    match &cell {
                        Some(cell) => row.cells.insert(column.id, cell.clone()),
                        None => row.cells.remove(&column.id),
                    };
                }
                let (name, value) = (quoted(&column.name), column.literal(cell.as_ref()));
                Some(format!("UPDATE t SET {name} = {value} WHERE id % {m} = 0"))
            }
            Step::Delete(n) => {
                self.rows.retain(|row| row.id % 7 != u32::from(n % 7));
                Some(format!("DELETE FROM t WHERE id % 7 = {}", n % 7))
            }
            Step::AddPart(..) | Step::DropPart(..) | Step::RenamePart(..) | Step::WidenPart(..) => {
                self.change_part(step)
            }
        }
    }

    fn add(&mut self, kind: u8, default: Option<u8>, name: u8, place: u8) -> Option<String> {
        let kind = Kind::ALL[usize::from(kind) % Kind::ALL.len()];
        let default = default.filter(|_| kind != Kind::Struct);
        let name = self.free_name(name)?;
        let mut parts = Vec::new();
        if kind == Kind::Struct {
            let id = self.id();
            let name = "p".to_owned();
            parts.push(Part { id, name, level: 1 });
        }
        let id = self.id();
        let column = Column {
            id,
            name: name.to_owned(),
            kind,
            parts,
        };
        let mut sql = format!("ALTER TABLE t ADD COLUMN {} {}", quoted(name), kind.sql());
        if let Some(n) = default {
            sql = format!("{sql} NOT NULL DEFAULT {}", kind.literal(n));
            for row in &mut self.rows {
                row.cells.insert(column.id, Cell::Value(n));
            }
            // So that it can be set to NULL later.
            sql = format!("{sql}, ALTER COLUMN {} DROP NOT NULL", quoted(name));
        }
        let at = usize::from(place) % (self.columns.len() + 1);
        let behind = match at.checked_sub(1) {
            None => "id".to_owned(),
            Some(before) => quoted(&self.columns[before].name),
        };
        sql = format!("{sql}, ALTER COLUMN {} AFTER {behind}", quoted(name));
        self.columns.insert(at, column);
        Some(sql)
    }

    fn change_part(&mut self, step: &Step) -> Option<String> {
        let (Step::AddPart(column, part)
        | Step::DropPart(column, part)
        | Step::RenamePart(column, part, _)
        | Step::WidenPart(column, part)) = *step
        else {
            return None;
        };
        let at = self.structs(column)?;
        let new_id = self.id();
        let column = &mut self.columns[at];
        let chosen = usize::from(part) % column.parts.len();
        let free = |column: &Column, n: u8| {
            let name = ["p", "q", "r"][usize::from(n) % 3];
            (!column.parts.iter().any(|p| p.name == name)).then(|| name.to_owned())
        };
        let table = format!("ALTER TABLE t {{}} {}", quoted(&column.name));
        let verb = |verb: &str, rest: String| table.replace("{}", verb) + "." + &rest;
        Some(match step {
            Step::AddPart(..) => {
                let name = free(column, part)?;
                column.parts.push(Part {
                    id: new_id,
                    name: name.clone(),
                    level: 1,
                });
                verb("ADD COLUMN", format!("{name} INT"))
            }
            Step::DropPart(..) if column.parts.len() > 1 => {
                verb("DROP COLUMN", column.parts.remove(chosen).name)
            }
            Step::RenamePart(_, _, name) => {
                let name = free(column, *name)?;
                let old = std::mem::replace(&mut column.parts[chosen].name, name.clone());
                verb("RENAME COLUMN", format!("{old} TO {name}"))
            }
            Step::WidenPart(..) if column.parts[chosen].level < 2 => {
                column.parts[chosen].level = 2;
                verb(
                    "ALTER COLUMN",
                    format!("{} TYPE BIGINT", column.parts[chosen].name),
                )
            }
            _ => return None,
        })
    }

    fn insert(&mut self, count: u8, n: u8) -> String {
        let mut rows = Vec::new();
        for i in 0..count {
            self.last_row += 1;
            let mut row = Row {
                id: self.last_row,
                cells: BTreeMap::new(),
            };
            for column in &self.columns {
                if (u32::from(i) + column.id) % 5 > 0 {
                    row.cells.insert(column.id, column.cell((n + i) % 28));
                }
            }
            let values = self.columns.iter().map(|c| c.literal(row.cells.get(&c.id)));
            let values = values.collect::<Vec<_>>().join(", ");
            let comma = if values.is_empty() { "" } else { ", " };
            rows.push(format!("({}{comma}{values})", row.id));
            self.rows.push(row);
        }
        format!("INSERT INTO t VALUES {}", rows.join(", "))
    }

    /// All rows, as they are shown.
    fn shown(&self) -> Vec<String> {
        let rows = self.rows.iter().map(|row| {
            let cells = self.columns.iter().map(|c| c.shown(row.cells.get(&c.id)));
            let id = std::iter::once(row.id.to_string());
            id.chain(cells).collect::<Vec<_>>().join("|")
        });
        rows.collect()
    }

    /// Filters, and the ids of the rows that they keep.
    fn questions(&self) -> Vec<(String, Vec<u32>)> {
        let mut questions = Vec::new();
        let mut ask = |filter: String, keep: &dyn Fn(&Row) -> bool| {
            let kept = self.rows.iter().filter(|row| keep(row)).map(|row| row.id);
            questions.push((filter, kept.collect()));
        };
        for column in &self.columns {
            let (id, name) = (column.id, quoted(&column.name));
            ask(format!("{name} IS NULL"), &|row| {
                !row.cells.contains_key(&id)
            });
            for part in &column.parts {
                let value = |row: &Row| match row.cells.get(&id) {
                    Some(Cell::Struct(values)) => values.get(&part.id).copied(),
                    _ => None,
                };
                let part = format!("{name}['{}']", part.name);
                ask(format!("{part} IS NULL"), &|row| value(row).is_none());
                for n in [3, 12] {
                    ask(format!("{part} = {n}"), &|row| value(row) == Some(n));
                    ask(format!("{part} > {n}"), &|row| {
                        value(row).is_some_and(|v| v > n)
                    });
                }
            }
            if column.kind == Kind::Struct {
                continue;
            }
            let value = |row: &Row| match row.cells.get(&id) {
                Some(Cell::Value(n)) => Some(*n),
                _ => None,
            };
            for n in [0, 7, 20] {
                let literal = column.kind.literal(n);
                ask(format!("{name} = {literal}"), &|row| value(row) == Some(n));
                if column.kind != Kind::Text {
                    ask(format!("{name} < {literal}"), &|row| {
                        value(row).is_some_and(|v| v < n)
                    });
                    ask(format!("{name} >= {literal}"), &|row| {
                        value(row).is_some_and(|v| v >= n)
                    });
                }
            }
        }
        questions
    }
}

async fn rows(ctx: &SessionContext, sql: &str) -> Vec<String> {
    let frame = udr_sql(ctx, sql).await;
    let frame = frame.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = frame.collect().await;
    let batches = batches.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let columns = batch.columns().iter();
            let values = columns.map(|column| array_value_to_string(column, row).unwrap());
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

async fn compare(ctx: &SessionContext, table: &str, model: &Model, place: &str) {
    let found = rows(ctx, &format!("SELECT * FROM {table} ORDER BY id")).await;
    assert_eq!(found, model.shown(), "{place}");
    for (filter, expected) in model.questions() {
        let sql = format!("SELECT id FROM {table} WHERE {filter} ORDER BY id");
        let expected = expected.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(rows(ctx, &sql).await, expected, "{place}: {filter}");
    }
}

async fn run(steps: Vec<Step>, pushdown: bool) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let repository = create(Arc::clone(&store)).await;
    let config = SessionConfig::new()
        .with_target_partitions(2)
        .set_bool("datafusion.execution.parquet.pushdown_filters", pushdown);
    let ctx = SessionContext::new_with_config(config);
    install(&ctx, InstallOptions::new(repository))
        .await
        .unwrap();
    rows(&ctx, "CREATE TABLE t (id BIGINT NOT NULL)").await;
    let mut model = Model::default();
    let mut versions = Vec::new();
    for step in &steps {
        let before = model.clone();
        let Some(sql) = model.apply(step) else {
            model = before;
            continue;
        };
        rows(&ctx, &sql).await;
        let version = rows(&ctx, "SELECT max(version) FROM udr.log")
            .await
            .remove(0);
        compare(&ctx, "t", &model, &format!("after {sql}")).await;
        versions.push((version, model.clone()));
    }
    for (version, model) in versions {
        let table = format!("\"t@{version}\"");
        compare(&ctx, &table, &model, &format!("at version {version}")).await;
    }
    check(&open(store).await.unwrap()).await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })]
    #[test]
    fn an_evolved_table_reads_the_same_through_every_version(
        steps in proptest::collection::vec(step(), 1..30),
        pushdown in any::<bool>(),
    ) {
        let stack = 16 << 20;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(stack)
            .enable_all()
            .build()
            .unwrap();
        let run = move || runtime.block_on(run(steps, pushdown));
        let thread = std::thread::Builder::new().stack_size(stack).spawn(run).unwrap();
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
