//! Random DML gives what `SQLite` gives: every row after every statement, in and out of
//! transactions,
//! and again at every version once all is done.
//!
//! Statements are SQL that both understand, but for `MERGE` and `TRUNCATE`, which `SQLite` is told in
//! other words.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::sample::select;
use udr_datafusion::{InstallOptions, install, udr_sql};

use crate::world::{check, create, open};

/// A row of `t`: `id`, `k`, `v`.
type Row = (Option<i64>, Option<i64>, Option<String>);

/// One statement: what UDR is told, and what `SQLite` is told.
#[derive(Debug, Clone)]
struct Statement {
    udr: String,
    sqlite: Vec<String>,
}

impl Statement {
    fn same(sql: String) -> Self {
        Self {
            udr: sql.clone(),
            sqlite: vec![sql],
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Run(Statement),
    Begin,
    Commit,
    Rollback,
}

fn word() -> impl Strategy<Value = &'static str> {
    select(vec!["'a'", "'b'", "'c d'", "''", "NULL"])
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (-3i64..30).prop_map(|n| n.to_string()),
        3 => small(),
        1 => Just("NULL".to_owned()),
    ]
}

/// One of few numbers, so that what is compared with them is often equal.
fn small() -> impl Strategy<Value = String> {
    prop_oneof![
        7 => (0i64..4).prop_map(|n| n.to_string()),
        1 => Just("NULL".to_owned()),
    ]
}

fn not() -> impl Strategy<Value = &'static str> {
    select(vec!["", "NOT "])
}

/// A condition on the columns of `t`, some with subqueries on `s` or on `t` itself.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => (0i64..5, 2i64..6).prop_map(|(r, m)| format!("t.id % {m} = {r}")),
        3 => number().prop_map(|n| format!("t.k > {n}")),
        2 => word().prop_map(|w| format!("t.v = {w}")),
        1 => Just("t.k IS NULL".to_owned()),
        1 => Just("t.v IS NOT NULL".to_owned()),
        2 => (0i64..20, 0i64..12).prop_map(|(a, n)| format!("t.id BETWEEN {a} AND {}", a + n)),
        2 => (number(), number()).prop_map(|(a, b)| format!("t.id IN ({a}, {b})")),
        1 => (number(), number()).prop_map(|(a, b)| format!("t.k NOT IN ({a}, {b})")),
        // Several lists of one column, which the engine likes to merge.
        2 => (small(), small(), not()).prop_map(|(a, b, not)| format!("t.k {not}IN ({a}, {b})")),
        1 => (small(), not()).prop_map(|(a, not)| format!("t.k {not}IN (t.id, {a})")),
        1 => small().prop_map(|n| format!("t.k = {n}")),
        2 => number().prop_map(|n| format!("t.id IN (SELECT s.id FROM s WHERE s.n > {n})")),
        1 => number().prop_map(|n| format!("t.id NOT IN (SELECT s.id FROM s WHERE s.n > {n})")),
        1 => Just("EXISTS (SELECT 1 FROM s WHERE s.id = t.id)".to_owned()),
        1 => Just("NOT EXISTS (SELECT 1 FROM s WHERE s.id = t.k)".to_owned()),
        1 => Just("t.k > (SELECT avg(u.k) FROM t AS u)".to_owned()),
        1 => Just("t.k = (SELECT max(s.n) FROM s WHERE s.id = t.id)".to_owned()),
        1 => select(vec!["1 = 0", "1 = 1", "NULL"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.clone().prop_map(|a| format!("NOT ({a})")),
            inner.clone().prop_map(|a| format!("(({a}) IS NULL)")),
            (inner, not()).prop_map(|(a, not)| format!("(({a}) IS {not}TRUE)")),
        ]
    })
}

/// Something that a column of numbers is set to.
fn expression() -> impl Strategy<Value = String> {
    prop_oneof![
        number(),
        Just("t.k + 1".to_owned()),
        Just("t.id - t.k".to_owned()),
        Just("CASE WHEN t.v = 'a' THEN t.id ELSE t.k END".to_owned()),
        Just("(SELECT max(s.n) FROM s WHERE s.id = t.id)".to_owned()),
        Just("(SELECT count(*) FROM t AS u WHERE u.k > 3)".to_owned()),
        (small(), small(), small(), not()).prop_map(|(a, b, c, not)| {
            format!(
                "CASE WHEN NOT (t.k IN ({a}, {b}) AND t.k {not}IN ({b}, {c})) THEN 1 ELSE 2 END"
            )
        }),
    ]
}

fn values() -> impl Strategy<Value = String> {
    let one = (number(), number(), word()).prop_map(|(id, k, v)| format!("({id}, {k}, {v})"));
    proptest::collection::vec(one, 1..6).prop_map(|rows| rows.join(", "))
}

/// A source with one row for each of some ids.
fn source() -> impl Strategy<Value = Vec<(i64, String, &'static str)>> {
    proptest::collection::btree_map(0i64..25, (number(), word()), 1..8)
        .prop_map(|rows| rows.into_iter().map(|(id, (k, v))| (id, k, v)).collect())
}

fn merge() -> impl Strategy<Value = Statement> {
    (source(), any::<[bool; 4]>(), number()).prop_map(
        |(rows, [delete, update, insert, rest], n)| {
            let rows = rows.iter().map(|(id, k, v)| format!("({id}, {k}, {v})"));
            let rows = rows.collect::<Vec<_>>().join(", ");
            let mut udr =
                format!("MERGE INTO t USING (VALUES {rows}) AS m(id, k, v) ON t.id = m.id");
            // Temporary, since what is in `t` decides more than once.
            let mut sqlite = vec![
                "DELETE FROM m".to_owned(),
                format!(
                    "INSERT INTO m SELECT column1, column2, column3, EXISTS (
                SELECT 1 FROM t WHERE t.id = column1) FROM (VALUES {rows})"
                ),
            ];
            if delete {
                let _ = write!(udr, " WHEN MATCHED AND t.k > {n} THEN DELETE");
                sqlite.push(format!(
                    "DELETE FROM t WHERE t.k > {n} AND EXISTS (SELECT 1 FROM m WHERE m.id = t.id)"
                ));
            }
            if update || !(delete || insert || rest) {
                let _ = write!(udr, " WHEN MATCHED THEN UPDATE SET k = m.k, v = m.v");
                sqlite.push("UPDATE t SET k = m.k, v = m.v FROM m WHERE m.id = t.id".to_owned());
            }
            if insert {
                let _ = write!(
                    udr,
                    " WHEN NOT MATCHED THEN INSERT (id, k, v) VALUES (m.id, m.k, m.v)"
                );
            }
            if rest {
                let _ = write!(udr, " WHEN NOT MATCHED BY SOURCE AND t.k < {n} THEN DELETE");
                sqlite.push(format!(
                "DELETE FROM t WHERE t.k < {n} AND NOT EXISTS (SELECT 1 FROM m WHERE m.id = t.id)"
            ));
            }
            if insert {
                sqlite.push("INSERT INTO t SELECT id, k, v FROM m WHERE NOT matched".to_owned());
            }
            Statement { udr, sqlite }
        },
    )
}

fn statement() -> impl Strategy<Value = Statement> {
    prop_oneof![
        4 => values().prop_map(|v| Statement::same(format!("INSERT INTO t VALUES {v}"))),
        1 => (0i64..5, 2i64..6).prop_map(|(r, m)| Statement::same(
            format!("INSERT INTO t SELECT t.id + 1, t.k, t.v FROM t WHERE t.id % {m} = {r}")
        )),
        4 => condition().prop_map(|c| Statement::same(format!("DELETE FROM t WHERE {c}"))),
        5 => (condition(), expression()).prop_map(|(c, e)| Statement::same(
            format!("UPDATE t SET k = {e} WHERE {c}")
        )),
        2 => (condition(), word()).prop_map(|(c, w)| Statement::same(
            format!("UPDATE t SET v = {w}, k = t.id WHERE {c}")
        )),
        4 => merge(),
        1 => Just(Statement {
            udr: "TRUNCATE TABLE t".to_owned(),
            sqlite: vec!["DELETE FROM t".to_owned()],
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => statement().prop_map(Step::Run),
        1 => Just(Step::Begin),
        1 => Just(Step::Commit),
        1 => Just(Step::Rollback),
    ]
}

struct Both {
    udr: SessionContext,
    sqlite: rusqlite::Connection,
}

impl Both {
    async fn new(store: &Arc<InMemory>) -> Self {
        let udr = SessionContext::new();
        let options = InstallOptions::new(create(store.clone()).await);
        install(&udr, options).await.unwrap();
        let both = Self {
            udr,
            sqlite: rusqlite::Connection::open_in_memory().unwrap(),
        };
        for sql in [
            "CREATE TABLE t (id BIGINT, k BIGINT, v VARCHAR)",
            "CREATE TABLE s (id BIGINT, n BIGINT)",
            "INSERT INTO s VALUES (1, 2), (2, 9), (2, 3), (7, NULL), (11, 20), (NULL, 5)",
        ] {
            both.udr(sql).await;
            both.sqlite.execute_batch(sql).unwrap();
        }
        let m = "CREATE TABLE m (id BIGINT, k BIGINT, v VARCHAR, matched BOOLEAN)";
        both.sqlite.execute_batch(m).unwrap();
        both
    }

    async fn udr(&self, sql: &str) -> Vec<arrow::record_batch::RecordBatch> {
        let frame = udr_sql(&self.udr, sql).await;
        let frame = frame.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = frame.collect().await;
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Whether a statement ran: what the engine would get wrong is refused, and nothing else.
    async fn changes(&self, sql: &str) -> bool {
        let frame = udr_sql(&self.udr, sql).await;
        let frame = frame.unwrap_or_else(|error| panic!("{sql}: {error}"));
        match frame.collect().await {
            Ok(_) => true,
            Err(error) if error.to_string().contains("may be NULL is in a subquery") => false,
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    async fn udr_rows(&self, table: &str) -> Vec<Row> {
        let sql = format!("SELECT id, k, CAST(v AS VARCHAR) FROM {table}");
        let mut rows = Vec::new();
        for batch in self.udr(&sql).await {
            let (id, k) = (batch.column(0), batch.column(1));
            let (id, k) = (
                id.as_primitive::<Int64Type>(),
                k.as_primitive::<Int64Type>(),
            );
            let v = arrow::compute::cast(batch.column(2), &arrow::datatypes::DataType::Utf8);
            let v = v.unwrap();
            let v = v.as_string::<i32>();
            rows.extend((0..batch.num_rows()).map(|i| {
                (
                    id.is_valid(i).then(|| id.value(i)),
                    k.is_valid(i).then(|| k.value(i)),
                    v.is_valid(i).then(|| v.value(i).to_owned()),
                )
            }));
        }
        rows.sort();
        rows
    }

    fn sqlite_rows(&self) -> Vec<Row> {
        let mut select = self.sqlite.prepare("SELECT id, k, v FROM t").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let mut rows = rows.unwrap().collect::<Result<Vec<Row>, _>>().unwrap();
        rows.sort();
        rows
    }
}

/// The newest version of `main`, and of what is expected.
async fn version(both: &Both) -> i64 {
    let rows = both
        .udr("SELECT CAST(max(version) AS BIGINT) FROM udr.log")
        .await;
    rows[0].column(0).as_primitive::<Int64Type>().value(0)
}

async fn run(steps: Vec<Step>) {
    let store = Arc::new(InMemory::new());
    let both = Both::new(&store).await;
    let mut versions = vec![(version(&both).await, Vec::new())];
    let mut open_transaction = false;
    for step in steps.into_iter().chain([Step::Commit]) {
        match step {
            Step::Run(statement) => {
                if !both.changes(&statement.udr).await {
                    continue;
                }
                for sql in &statement.sqlite {
                    let done = both.sqlite.execute_batch(sql);
                    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
                }
                let (found, expected) = (both.udr_rows("t").await, both.sqlite_rows());
                assert_eq!(found, expected, "after {}", statement.udr);
            }
            Step::Begin if !open_transaction => {
                both.udr("BEGIN").await;
                both.sqlite.execute_batch("BEGIN").unwrap();
                open_transaction = true;
            }
            Step::Commit if open_transaction => {
                both.udr("COMMIT").await;
                both.sqlite.execute_batch("COMMIT").unwrap();
                open_transaction = false;
            }
            Step::Rollback if open_transaction => {
                both.udr("ROLLBACK").await;
                both.sqlite.execute_batch("ROLLBACK").unwrap();
                open_transaction = false;
                assert_eq!(both.udr_rows("t").await, both.sqlite_rows());
            }
            Step::Begin | Step::Commit | Step::Rollback => {}
        }
        if !open_transaction {
            versions.push((version(&both).await, both.sqlite_rows()));
        }
    }
    for (version, expected) in versions {
        let found = both.udr_rows(&format!("\"t@{version}\"")).await;
        assert_eq!(found, expected, "at version {version}");
    }
    check(&open(store).await.unwrap()).await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]
    #[test]
    fn changes_of_rows_give_what_sqlite_gives(steps in proptest::collection::vec(step(), 1..40)) {
        // Deep plans need deep stacks where nothing is optimised.
        let stack = 16 << 20;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(stack)
            .enable_all()
            .build()
            .unwrap();
        let run = move || runtime.block_on(run(steps));
        let thread = std::thread::Builder::new().stack_size(stack).spawn(run).unwrap();
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
