//! Applying the feed from one state to the rows there gives the rows at the other, whatever
//! happened between them: to rows, columns, tables and branches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;
use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::sample::select;
use udr_core::Repository;
use udr_core::id::{FieldId, TableId};
use udr_core::name::RefName;
use udr_core::snapshot::{Relation, TableSnapshot};
use udr_datafusion::{InstallOptions, install, udr_sql};

use crate::world::{check, create, path};

/// Rows by what identifies them.
type Rows = BTreeMap<String, Vec<String>>;

#[derive(Debug, Clone)]
enum Step {
    Sql(String),
    Begin,
    End(bool),
    Branch,
    Switch,
    Merge,
}

fn step() -> impl Strategy<Value = Step> {
    let table = || select(vec!["t", "t", "u"]);
    let (n, m) = (0i64..40, 2i64..6);
    prop_oneof![
        6 => (table(), n.clone(), 1i64..30).prop_map(|(t, first, rows)| Step::Sql(format!(
            "INSERT INTO {t} (id, v) SELECT value, 'i' || value \
             FROM generate_series({first}, {})", first + rows
        ))),
        4 => (table(), n.clone(), m.clone()).prop_map(|(t, r, m)| Step::Sql(format!(
            "UPDATE {t} SET v = 'u{r}' WHERE id % {m} = {r} % {m}"
        ))),
        1 => table().prop_map(|t| Step::Sql(format!("UPDATE {t} SET v = v"))),
        4 => (table(), n.clone(), m).prop_map(|(t, r, m)| Step::Sql(format!(
            "DELETE FROM {t} WHERE id % {m} = {r} % {m}"
        ))),
        2 => (table(), n.clone()).prop_map(|(t, n)| Step::Sql(format!("DELETE FROM {t} WHERE id > {n}"))),
        3 => (table(), n.clone()).prop_map(|(t, n)| Step::Sql(format!(
            "MERGE INTO {t} USING (SELECT value AS id FROM generate_series({n}, {})) AS s \
             ON {t}.id = s.id WHEN MATCHED AND s.id % 3 = 0 THEN DELETE \
             WHEN MATCHED THEN UPDATE SET v = 'm{n}' \
             WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, 'n')", n + 9
        ))),
        1 => (table(), n).prop_map(|(t, n)| Step::Sql(format!(
            "INSERT OVERWRITE {t} (id, v) SELECT id, v FROM {t} WHERE id < {n}"
        ))),
        1 => table().prop_map(|t| Step::Sql(format!("TRUNCATE TABLE {t}"))),
        2 => (table(), 0u8..3).prop_map(|(t, c)| Step::Sql(format!(
            "ALTER TABLE {t} ADD COLUMN c{c} INT DEFAULT {c}"
        ))),
        1 => (table(), 0u8..3).prop_map(|(t, c)| Step::Sql(format!("ALTER TABLE {t} DROP COLUMN c{c}"))),
        1 => (table(), 0u8..3, 0u8..3).prop_map(|(t, a, b)| Step::Sql(format!(
            "ALTER TABLE {t} RENAME COLUMN c{a} TO c{b}"
        ))),
        1 => (table(), 0u8..3).prop_map(|(t, c)| Step::Sql(format!(
            "ALTER TABLE {t} ALTER COLUMN c{c} TYPE BIGINT"
        ))),
        1 => Just(Step::Sql("DROP TABLE u".to_owned())),
        2 => Just(Step::Sql("CREATE TABLE u AS SELECT id, v FROM t".to_owned())),
        1 => Just(Step::Sql("ALTER TABLE t RENAME TO w".to_owned())),
        2 => Just(Step::Sql("ALTER TABLE w RENAME TO t".to_owned())),
        2 => Just(Step::Begin),
        2 => any::<bool>().prop_map(Step::End),
        2 => Just(Step::Branch),
        2 => Just(Step::Switch),
        2 => Just(Step::Merge),
    ]
}

struct Session {
    ctx: SessionContext,
    repository: Repository,
}

impl Session {
    async fn run(&self, sql: &str) -> Result<(), String> {
        let frame = udr_sql(&self.ctx, sql).await.map_err(|e| e.to_string())?;
        frame.collect().await.map_err(|e| e.to_string())?;
        Ok(())
    }

    /// The rows of a query, every value as text.
    async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let frame = udr_sql(&self.ctx, sql).await;
        let frame = frame.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let batches = frame.collect().await;
        let batches = batches.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let mut rows = Vec::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let values = batch.columns().iter();
                let values = values.map(|column| array_value_to_string(column, row).unwrap());
                rows.push(values.collect());
            }
        }
        rows
    }

    /// The tables of a state.
    async fn tables(&self, state: &str) -> BTreeMap<TableId, TableSnapshot> {
        let revision = state.parse().unwrap();
        let snapshot = self.repository.resolve(&RefName::main(), &revision).await;
        let snapshot = snapshot.unwrap();
        let mut tables = BTreeMap::new();
        for name in ["t", "u", "w"] {
            if let Some(Relation::Table(table)) = snapshot.relation(&path(name)).await.unwrap() {
                tables.insert(table.id(), *table);
            }
        }
        tables
    }

    /// The rows of a table at a state, in columns of these ids.
    async fn table(&self, table: &TableSnapshot, state: &str, ids: &BTreeSet<FieldId>) -> Rows {
        let name = &table.path().name;
        let columns = selected(table, ids);
        let sql = format!("SELECT _row_id{columns} FROM \"{name}$rows@{state}\"");
        let mut rows = Rows::new();
        for mut row in self.rows(&sql).await {
            let id = row.remove(0);
            assert!(rows.insert(id, row).is_none(), "a row is there twice");
        }
        rows
    }

    /// The states that a branch had, oldest first.
    async fn states(&self, branch: &str) -> Vec<String> {
        let log = format!("SELECT commit_id FROM {branch}.udr.log");
        let log = self.rows(&log).await;
        log.into_iter().rev().map(|row| row[0].clone()).collect()
    }
}

/// What is selected of a table: columns of these ids, each after a comma.
fn selected(table: &TableSnapshot, ids: &BTreeSet<FieldId>) -> String {
    let names = ids.iter().filter_map(|id| table.schema().field_by_id(*id));
    names.map(|field| format!(", \"{}\"", field.name)).collect()
}

fn ids(table: &TableSnapshot) -> BTreeSet<FieldId> {
    table
        .schema()
        .fields()
        .iter()
        .map(|field| field.id)
        .collect()
}

/// Does to `rows` what a feed says, commit by commit, and refuses what cannot be; what goes in a
/// commit goes before what comes.
fn apply(rows: &mut Rows, mut feed: Vec<Vec<String>>, what: &str) {
    let came = |kind: &str| matches!(kind, "insert" | "update_postimage");
    feed.sort_by_key(|change| (change[0].parse::<u64>().unwrap(), came(&change[1])));
    for mut change in feed {
        change.remove(0);
        let (kind, id) = (change.remove(0), change.remove(0));
        if came(&kind) {
            let before = rows.insert(id.clone(), change);
            assert!(before.is_none(), "{what}: {kind} of {id}, which is there");
            continue;
        }
        assert!(
            matches!(kind.as_str(), "delete" | "update_preimage"),
            "{kind} is no change"
        );
        let before = rows.remove(&id);
        assert_eq!(before, Some(change), "{what}: {kind} of {id}");
    }
}

/// Applies the feeds of each table; `line` says that commits lead from one state to the other.
async fn each_table(session: &Session, from: &str, to: &str, line: bool) {
    let (before, after) = (session.tables(from).await, session.tables(to).await);
    for (id, table) in &after {
        let then = before.get(id);
        let mut common = ids(table);
        if let Some(then) = then {
            // Values of a wider type cannot be shown as those of a narrower one.
            let ty = |table: &TableSnapshot, id| {
                let field = table.schema().field_by_id(id);
                field.map(|field| field.ty.clone())
            };
            common.retain(|id| match line {
                true => ids(then).contains(id),
                false => ty(then, *id) == ty(table, *id),
            });
        }
        let start = match then {
            Some(then) => session.table(then, from, &common).await,
            None => Rows::new(),
        };
        let end = session.table(table, to, &common).await;
        let columns = selected(table, &common);
        let feeds = ["changes", "net_changes"];
        for feed in feeds
            .into_iter()
            .filter(|feed| line || *feed == "net_changes")
        {
            let what = format!("{}${feed}@{from}..{to}", table.path().name);
            let sql =
                format!("SELECT _commit_sequence, _change_type, _row_id{columns} FROM \"{what}\"");
            let mut rows = start.clone();
            apply(&mut rows, session.rows(&sql).await, &what);
            assert_eq!(rows, end, "{what}");
        }
    }
}

/// Applies the feed of everything to what identifies the rows of all tables.
async fn all_tables(session: &Session, from: &str, to: &str) {
    let mut rows = BTreeMap::<TableId, Rows>::new();
    let none = BTreeSet::new();
    let (before, after) = (session.tables(from).await, session.tables(to).await);
    for (id, table) in &before {
        rows.insert(*id, session.table(table, from, &none).await);
    }
    let sql = format!(
        "SELECT _table, _commit_sequence, _change_type, _row_id FROM udr.\"changes@{from}..{to}\""
    );
    let mut feeds = BTreeMap::<String, Vec<Vec<String>>>::new();
    for mut row in session.rows(&sql).await {
        feeds.entry(row.remove(0)).or_default().push(row);
    }
    for (id, table) in &after {
        let feed = feeds.remove(&table.path().to_string()).unwrap_or_default();
        let mut start = rows.remove(id).unwrap_or_default();
        apply(&mut start, feed, &sql);
        assert_eq!(start, session.table(table, to, &none).await, "{sql}");
    }
    // What was dropped on the way: its rows are gone, and so are those that came before that.
    let mut dropped = rows.into_values().reduce(|mut all, rows| {
        all.extend(rows);
        all
    });
    let dropped = dropped.get_or_insert_default();
    for (name, feed) in feeds {
        assert!(name.contains('@'), "{name} is not dropped");
        apply(dropped, feed, &sql);
    }
    assert!(dropped.is_empty(), "{sql}: {dropped:?}");
}

async fn run(steps: Vec<Step>) {
    let inner = Arc::new(InMemory::new());
    let repository = create(inner).await;
    let ctx = SessionContext::new();
    let options = InstallOptions::new(repository.clone());
    install(&ctx, options).await.unwrap();
    let session = Session { ctx, repository };
    for sql in [
        "CREATE TABLE t (id BIGINT, v TEXT)",
        "INSERT INTO t SELECT value, 'x' FROM generate_series(0, 39)",
        "CREATE TABLE u (id BIGINT, v TEXT)",
    ] {
        session.run(sql).await.unwrap();
    }
    let mut on_main = true;
    for step in steps {
        let sql = match step {
            Step::Sql(sql) => sql,
            Step::Begin => "BEGIN".to_owned(),
            Step::End(true) => "COMMIT".to_owned(),
            Step::End(false) => "ROLLBACK".to_owned(),
            Step::Branch => "CREATE BRANCH dev".to_owned(),
            Step::Switch if on_main => "USE BRANCH dev".to_owned(),
            Step::Switch => "USE BRANCH main".to_owned(),
            Step::Merge => "MERGE BRANCH dev INTO main".to_owned(),
        };
        // What does not apply is refused, and does nothing.
        if session.run(&sql).await.is_ok() && sql.starts_with("USE") {
            on_main = !on_main;
        }
    }
    session.run("COMMIT").await.ok();
    session.run("USE BRANCH main").await.ok();
    let main = session.states("main").await;
    let dev = match session.run("USE BRANCH dev").await {
        Ok(()) => session.states("dev").await,
        Err(_) => Vec::new(),
    };
    session.run("USE BRANCH main").await.unwrap();
    for line in [&main, &dev] {
        for (at, from) in line.iter().enumerate() {
            // Every commit by itself, and ranges of all lengths.
            for (to, state) in line.iter().enumerate().skip(at + 1) {
                if to == at + 1 || (at * 3 + to) % 7 == 0 {
                    each_table(&session, from, state, true).await;
                    all_tables(&session, from, state).await;
                }
            }
        }
    }
    // Between branches, and backwards.
    if let (Some(main), Some(dev)) = (main.last(), dev.last()) {
        each_table(&session, main, dev, false).await;
        each_table(&session, dev, main, false).await;
    }
    check(&session.repository).await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn applying_a_feed_to_one_state_gives_the_other(
        steps in proptest::collection::vec(step(), 4..16)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
