//! Change feeds: what commits did to rows, whatever they did to files.

use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;
use udr_core::ErrorKind;
use udr_datafusion::error::udr_error;
use udr_datafusion::udr_sql;

use crate::fixture::{Fixture, id_and_name};

impl Fixture {
    async fn sql(&self, sql: &str) -> Vec<RecordBatch> {
        let frame = udr_sql(&self.ctx, sql).await;
        let frame = frame.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let batches = frame.collect().await;
        batches.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The rows of a query of `udr_sql`, in order, the values with spaces between.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let mut rows = Vec::new();
        for batch in self.sql(sql).await {
            for row in 0..batch.num_rows() {
                let values = batch.columns().iter().map(|column| {
                    arrow::util::display::array_value_to_string(column, row).unwrap()
                });
                rows.push(values.collect::<Vec<_>>().join(" "));
            }
        }
        rows
    }

    /// The kind, the text and the hint of the error that `udr_sql` ends with.
    async fn sql_refused(&self, sql: &str) -> (ErrorKind, String, String) {
        let result = match udr_sql(&self.ctx, sql).await {
            Ok(frame) => frame.collect().await.map(|_| ()),
            Err(error) => Err(error),
        };
        let Err(error) = result else {
            panic!("{sql} was accepted");
        };
        let error = udr_error(&error).unwrap_or_else(|| panic!("{sql}: {error}"));
        let hint = error.hint().unwrap_or_default().to_owned();
        (error.kind(), error.to_string(), hint)
    }

    async fn columns(&self, sql: &str) -> Vec<String> {
        let frame = udr_sql(&self.ctx, sql).await.unwrap();
        let fields = frame.schema().fields().iter();
        fields.map(|field| field.name().clone()).collect()
    }
}

const FEED: &str = "_commit_version, _change_type, id, name";

#[tokio::test]
async fn every_statement_shows_what_it_did_to_rows() {
    let f = Fixture::with_table().await;
    f.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')")
        .await;
    f.sql("UPDATE t SET name = 'B' WHERE id = 2").await;
    f.sql("DELETE FROM t WHERE id = 1").await;
    f.sql(
        "MERGE INTO t USING (VALUES (3, 'C'), (5, 'e')) AS s(id, name) ON t.id = s.id \
         WHEN MATCHED THEN UPDATE SET name = s.name \
         WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)",
    )
    .await;
    f.sql("INSERT OVERWRITE t VALUES (9, 'z')").await;
    f.sql("TRUNCATE TABLE t").await;
    let feed = f
        .rows(&format!(
            "SELECT {FEED} FROM table_changes('t', 2) ORDER BY _commit_version, _change_type, id"
        ))
        .await;
    assert_eq!(
        feed,
        [
            "2 insert 1 a",
            "2 insert 2 b",
            "2 insert 3 c",
            "2 insert 4 d",
            "3 update_postimage 2 B",
            "3 update_preimage 2 b",
            "4 delete 1 a",
            "5 insert 5 e",
            "5 update_postimage 3 C",
            "5 update_preimage 3 c",
            "6 delete 2 B",
            "6 delete 3 C",
            "6 delete 4 d",
            "6 delete 5 e",
            "6 insert 9 z",
            "7 delete 9 z",
        ]
    );
    // Both ends are part of it, in whatever order rows are asked for.
    let some = format!("SELECT {FEED} FROM table_changes('t', 3, 4)");
    let some = f.rows(&some).await;
    assert_eq!(
        some,
        [
            "3 update_preimage 2 b",
            "3 update_postimage 2 B",
            "4 delete 1 a"
        ]
    );
    assert_eq!(
        f.columns("SELECT * FROM table_changes('t', 3, 4)").await,
        [
            "id",
            "name",
            "_change_type",
            "_commit_version",
            "_commit_timestamp",
            "_commit_id",
            "_commit_sequence",
            "_row_id"
        ]
    );
    let all = "SELECT count(*) FROM table_changes('t', 0)";
    assert_eq!(f.rows(all).await, ["16"]);
    f.check().await;
}

#[tokio::test]
async fn plain_names_say_which_commits() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.run("INSERT INTO t VALUES (2, 'b')").await;
    f.run("INSERT INTO t VALUES (3, 'c')").await;
    f.create_branch("dev").await;
    f.run("INSERT INTO t VALUES (4, 'd')").await;
    let ids = async |name: &str| f.values(&format!("SELECT id FROM {name}")).await.join(",");
    assert_eq!(ids("\"t$changes\"").await, "1,2,3,4");
    assert_eq!(ids("\"t$changes@2..\"").await, "2,3,4");
    assert_eq!(ids("\"t$changes@..3\"").await, "1,2");
    assert_eq!(ids("\"t$changes@2..4\"").await, "2,3");
    assert_eq!(ids("\"t$changes@HEAD~1..\"").await, "4");
    assert_eq!(ids("\"t$changes@dev..\"").await, "4");
    assert_eq!(ids("\"t$changes@3..3\"").await, "");
    assert_eq!(ids("dev.public.\"t$changes\"").await, "1,2,3");
    assert_eq!(ids("dev.public.\"t$changes@HEAD~1..\"").await, "3");
    assert_eq!(ids("\"t$net_changes@2..4\"").await, "2,3");
    let times = "SELECT DISTINCT _commit_timestamp FROM \"t$changes\" ORDER BY 1";
    let times = f.values(times).await;
    let since = format!("SELECT count(*) FROM table_changes('t', '{}')", times[1]);
    assert_eq!(f.rows(&since).await, ["3"]);
    // All that happened since a time before everything is everything.
    let since = "SELECT count(*) FROM table_changes('t', TIMESTAMP '1999-12-31')";
    assert_eq!(f.rows(since).await, ["4"]);
    let aliased = "SELECT table_changes.id FROM table_changes('public.t', 'HEAD')";
    assert_eq!(f.rows(aliased).await, ["4"]);
    let joined = "SELECT count(*) FROM table_changes('t', 2) AS c JOIN t ON c.id = t.id";
    assert_eq!(f.rows(joined).await, ["4"]);
}

#[tokio::test]
async fn a_branch_shows_what_happened_on_it_and_before_it() {
    let f = Fixture::with_table().await;
    f.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.sql("CREATE BRANCH dev").await;
    f.sql("USE BRANCH dev").await;
    f.sql("UPDATE t SET name = 'dev' WHERE id = 1").await;
    f.sql("USE BRANCH main").await;
    f.sql("UPDATE t SET name = 'main' WHERE id = 1").await;
    f.sql("DELETE FROM t WHERE id = 2").await;
    let dev = f
        .rows("SELECT _change_type, id, name FROM \"t$changes@2..dev\"")
        .await;
    assert_eq!(dev, ["update_preimage 1 a", "update_postimage 1 dev"]);
    let (kind, _, hint) = f.sql_refused("SELECT * FROM \"t$changes@dev..main\"").await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(hint.contains("net changes"), "{hint}");
    // Both branches changed the row in a commit of the same place in the order of each.
    let net = "SELECT _change_type, id, name FROM \"t$net_changes@dev..main\" ORDER BY id, 1 DESC";
    assert_eq!(
        f.rows(net).await,
        [
            "update_preimage 1 dev",
            "update_postimage 1 main",
            "delete 2 b"
        ]
    );
    // Backwards, what went comes.
    let back = "SELECT _change_type, id, name FROM \"t$net_changes@HEAD..2\" ORDER BY id, 1 DESC";
    assert_eq!(
        f.rows(back).await,
        [
            "update_preimage 1 main",
            "update_postimage 1 a",
            "insert 2 b"
        ]
    );
    let (kind, text, _) = f.sql_refused("SELECT * FROM \"t$changes@4..3\"").await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("later than the last"), "{text}");
    f.sql("CREATE BRANCH up").await;
    f.sql("USE BRANCH up").await;
    f.sql("INSERT INTO t VALUES (7, 'g')").await;
    f.sql("INSERT INTO t VALUES (8, 'h')").await;
    f.sql("USE BRANCH main").await;
    let before = f.version().await;
    f.sql("MERGE BRANCH up INTO main").await;
    let merged = format!("SELECT id FROM \"t$changes@{before}..\"");
    assert_eq!(f.rows(&merged).await, ["7", "8"]);
}

#[tokio::test]
async fn net_changes_are_those_of_one_commit_that_did_everything() {
    let f = Fixture::with_table().await;
    f.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        .await;
    f.sql("INSERT INTO t VALUES (4, 'd')").await;
    f.sql("UPDATE t SET name = name || '!' WHERE id IN (1, 4)")
        .await;
    f.sql("UPDATE t SET name = name || '?' WHERE id = 1").await;
    f.sql("DELETE FROM t WHERE id = 2").await;
    f.sql("INSERT INTO t VALUES (5, 'e')").await;
    f.sql("DELETE FROM t WHERE id = 5").await;
    let net = "SELECT _commit_version, _change_type, id, name \
               FROM table_changes('t', 3, net_changes => true) ORDER BY id, 2 DESC";
    assert_eq!(
        f.rows(net).await,
        [
            "8 update_preimage 1 a",
            "8 update_postimage 1 a!?",
            "8 delete 2 b",
            "8 insert 4 d!"
        ]
    );
    let all = "SELECT _change_type, id FROM \"t$net_changes\" ORDER BY id";
    assert_eq!(f.rows(all).await, ["insert 1", "insert 3", "insert 4"]);
}

#[tokio::test]
async fn rows_that_are_only_written_anew_are_no_changes() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, 'x' FROM generate_series(1, 1000)")
        .await;
    // Most of the file goes, so the rest is written to another one.
    f.run("DELETE FROM t WHERE id > 100").await;
    let files =
        "SELECT count(*) FROM \"t$files\" AS a JOIN \"t$files@2\" AS b ON a.file_id = b.file_id";
    assert_eq!(f.value(files).await, "0", "nothing was written anew");
    let counts =
        "SELECT _change_type || ' ' || count(*) FROM \"t$changes@2..\" GROUP BY _change_type";
    assert_eq!(f.values(counts).await, ["delete 900"]);
    f.run("UPDATE t SET name = 'y' WHERE id <= 10").await;
    let ids = "SELECT count(*) FROM \"t$changes@3..\" WHERE _change_type = 'update_preimage'";
    assert_eq!(f.value(ids).await, "10");
    let whole = "SELECT _change_type || ' ' || count(*) FROM \"t$net_changes@2..\" \
                 GROUP BY _change_type ORDER BY _change_type";
    assert_eq!(
        f.values(whole).await,
        ["delete 900", "update_postimage 10", "update_preimage 10"]
    );
    // What identifies a row is what `t$rows` says.
    let same = "SELECT count(*) FROM \"t$changes@3..\" AS c JOIN \"t$rows\" AS r \
                ON c._row_id = r._row_id AND c.id = r.id WHERE _change_type = 'update_postimage'";
    assert_eq!(f.value(same).await, "10");
}

#[tokio::test]
async fn rows_are_shown_with_the_columns_of_the_last_state() {
    let f = Fixture::new().await;
    f.sql("CREATE TABLE t (id INT, old TEXT, gone INT)").await;
    f.sql("INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20)")
        .await;
    f.sql("ALTER TABLE t ADD COLUMN added INT DEFAULT 7").await;
    f.sql("ALTER TABLE t RENAME COLUMN old TO new").await;
    f.sql("ALTER TABLE t DROP COLUMN gone").await;
    f.sql("ALTER TABLE t ALTER COLUMN id TYPE BIGINT").await;
    f.sql("UPDATE t SET new = 'B', id = 3000000000 WHERE id = 2")
        .await;
    f.sql("ALTER TABLE t RENAME TO u").await;
    f.sql("DELETE FROM u WHERE id = 1").await;
    let all = "SELECT _change_type, id, new, added FROM table_changes('u', 0)";
    assert_eq!(
        f.rows(all).await,
        [
            "insert 1 a 7",
            "insert 2 b 7",
            "update_preimage 2 b 7",
            "update_postimage 3000000000 B 7",
            "delete 1 a 7"
        ]
    );
    // As it was called and as it looked then.
    let then = "SELECT id, old, gone FROM \"t$changes@..2\"";
    assert_eq!(f.rows(then).await, ["1 a 10", "2 b 20"]);
    let (kind, text, _) = f
        .sql_refused("SELECT * FROM \"t$net_changes@HEAD~1..2\"")
        .await;
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("type"), "{text}");
    let names = "SELECT old FROM \"t$net_changes@HEAD~1..2\" ORDER BY old";
    assert_eq!(f.rows(names).await, ["B", "b"]);
}

#[tokio::test]
async fn several_tables_are_one_stream_of_transactions() {
    let f = Fixture::new().await;
    f.sql("CREATE TABLE orders (id INT, total INT)").await;
    f.sql("CREATE TABLE lines (order_id INT, what TEXT)").await;
    f.sql("CREATE TABLE other (x INT)").await;
    let start = f.version().await;
    f.sql("BEGIN").await;
    f.sql("INSERT INTO lines VALUES (1, 'pen'), (1, 'ink')")
        .await;
    f.sql("INSERT INTO orders VALUES (1, 12)").await;
    f.sql("COMMIT MESSAGE 'the first order'").await;
    f.sql("INSERT INTO other VALUES (1)").await;
    f.sql("UPDATE orders SET total = 13").await;
    let feed = format!(
        "SELECT _commit_message, _table, _change_type, orders.total, lines.what \
         FROM udr_changes({start}, 'HEAD', 'orders', 'lines')"
    );
    assert_eq!(
        f.rows(&feed).await,
        [
            "the first order orders insert 12 ",
            "the first order lines insert  pen",
            "the first order lines insert  ink",
            "UPDATE public.orders orders update_preimage 12 ",
            "UPDATE public.orders orders update_postimage 13 "
        ]
    );
    let columns = f
        .columns(&format!("SELECT * FROM udr_changes({start})"))
        .await;
    assert_eq!(
        columns,
        [
            "_commit_version",
            "_commit_sequence",
            "_commit_id",
            "_commit_timestamp",
            "_commit_author",
            "_commit_message",
            "_table",
            "_change_type",
            "_row_id",
            "public.lines",
            "public.orders",
            "public.other"
        ]
    );
    let counts = format!(
        "SELECT _table || ' ' || count(*) FROM udr.\"changes@{start}..\" GROUP BY _table ORDER BY _table"
    );
    assert_eq!(
        f.values(&counts).await,
        ["public.lines 2", "public.orders 3", "public.other 1"]
    );
    f.check().await;
}

#[tokio::test]
async fn a_table_that_is_dropped_loses_its_rows() {
    let f = Fixture::new().await;
    f.sql("CREATE TABLE orders (id INT)").await;
    f.sql("CREATE TABLE lines (order_id INT, what TEXT)").await;
    f.sql("CREATE TABLE other (x INT)").await;
    let start = f.version().await;
    f.sql("INSERT INTO lines VALUES (1, 'pen'), (1, 'ink')")
        .await;
    f.sql("INSERT INTO other VALUES (1)").await;
    // One of the same name is another.
    f.sql("DROP TABLE lines").await;
    f.sql("CREATE TABLE lines AS SELECT 'new' AS what").await;
    let dropped = f.version().await - 1;
    let lines = format!(
        "SELECT _commit_version, _table, _change_type FROM udr_changes({start}) \
         WHERE _table LIKE '%lines%' ORDER BY _commit_sequence"
    );
    let log = format!(
        "SELECT commit_id FROM udr.log WHERE version = {}",
        dropped - 1
    );
    let old = format!("public.lines@{}", &f.value(&log).await[..24]);
    assert_eq!(
        f.value(&format!("SELECT count(*) FROM \"{}\"", &old[7..]))
            .await,
        "2"
    );
    assert_eq!(
        f.rows(&lines).await,
        [
            format!("{} {old} insert", start + 1),
            format!("{} {old} insert", start + 1),
            format!("{dropped} {old} delete"),
            format!("{dropped} {old} delete"),
            format!("{} public.lines insert", dropped + 1),
        ]
    );
    f.sql("DROP TABLE orders").await;
    for feed in [
        "table_changes('orders', 2)",
        "udr_changes(2, 'HEAD', 'other', 'orders')",
    ] {
        let (kind, text, hint) = f.sql_refused(&format!("SELECT * FROM {feed}")).await;
        assert_eq!(kind, ErrorKind::NotFound);
        let last = format!("end before version {}", f.version().await);
        assert!(
            text.contains("dropped") && hint.contains(&last),
            "{text}: {hint}"
        );
    }
    f.check().await;
}

#[tokio::test]
async fn filters_choose_commits_kinds_and_files() {
    let f = Fixture::with_table().await;
    for first in 0..10 {
        let sql = format!(
            "INSERT INTO t SELECT value, 'x' FROM generate_series({first}000, {first}000 + 99)"
        );
        f.run(&sql).await;
    }
    f.run("UPDATE t SET name = 'y' WHERE id % 1000 = 7").await;
    let analyzed = async |filter: &str| {
        let sql = format!("EXPLAIN ANALYZE SELECT id FROM \"t$changes\" WHERE {filter}");
        f.shown(&sql).await
    };
    let plan = analyzed("_commit_version BETWEEN 4 AND 5").await;
    assert!(
        plan.contains("commits_read=2") && plan.contains("commits_pruned=1"),
        "{plan}"
    );
    assert!(plan.contains("output_rows=200"), "{plan}");
    let plan = analyzed("_change_type = 'update_preimage'").await;
    assert!(plan.contains("output_rows=10"), "{plan}");
    let plan = analyzed("id >= 9000 AND _change_type = 'insert'").await;
    let exec = plan
        .lines()
        .find(|line| line.contains("ChangesExec"))
        .unwrap();
    assert!(exec.contains("output_rows=100"), "{plan}");
    let count = async |filter: &str| {
        let sql = format!("SELECT count(*) FROM \"t$changes\" WHERE {filter}");
        f.value(&sql).await
    };
    assert_eq!(count("_commit_version BETWEEN 4 AND 5").await, "200");
    assert_eq!(count("_change_type LIKE 'update%'").await, "20");
    assert_eq!(count("_change_type <> 'insert' AND id > 5000").await, "10");
    assert_eq!(count("_commit_version > 4 OR id = 3").await, "721");
    assert_eq!(
        count("_commit_timestamp < TIMESTAMP '1999-01-01'").await,
        "0"
    );
    let head = f
        .value("SELECT max(commit_id) FROM udr.log WHERE version = 12")
        .await;
    assert_eq!(count(&format!("_commit_id = '{head}'")).await, "20");
    let ordered = "SELECT id + 1 FROM \"t$changes\" WHERE id % 2 = 0 ORDER BY _commit_sequence";
    let plan = f.plan(ordered).await;
    assert!(!plan.contains("SortExec"), "{plan}");
    let limited = f.values("SELECT id FROM \"t$changes\" LIMIT 3").await;
    assert_eq!(limited, ["0", "1", "2"]);
}

#[tokio::test]
async fn only_what_is_committed_is_shown_and_statements_see_one_state() {
    let f = Fixture::with_table().await;
    f.sql("INSERT INTO t VALUES (1, 'a')").await;
    let other = f.other().await;
    f.sql("BEGIN").await;
    f.sql("INSERT INTO t VALUES (2, 'b')").await;
    other.sql("INSERT INTO t VALUES (3, 'c')").await;
    let seen = "SELECT id FROM \"t$changes\"";
    assert_eq!(f.rows(seen).await, ["1"]);
    f.sql("COMMIT").await;
    assert_eq!(f.rows(seen).await, ["1", "3", "2"]);
    f.sql("CREATE VIEW v AS SELECT id, _change_type FROM \"t$changes@2..\"")
        .await;
    f.sql("PREPARE p AS SELECT count(*) FROM \"t$changes\"")
        .await;
    f.sql("DELETE FROM t WHERE id = 1").await;
    assert_eq!(f.rows("SELECT id FROM v").await, ["3", "2", "1"]);
    assert_eq!(f.rows("EXECUTE p").await, ["4"]);
    f.sql("ALTER TABLE t ADD COLUMN more INT").await;
    let (kind, ..) = f.sql_refused("EXECUTE p").await;
    assert_eq!(kind, ErrorKind::Conflict);
    let insert = "INSERT INTO t SELECT id + 10, name, NULL FROM \"t$changes\"";
    f.sql(insert).await;
    assert_eq!(f.rows("SELECT count(*) FROM t").await, ["6"]);
}

/// What is no feed, and what the error says would be one.
const NO_FEEDS: [(&str, ErrorKind, &str); 18] = [
    ("SELECT * FROM \"t$changes@2\"", ErrorKind::Invalid, "3..7"),
    (
        "SELECT * FROM \"t$changes@nope..\"",
        ErrorKind::NotFound,
        "",
    ),
    (
        "SELECT * FROM \"t$changes@1..99\"",
        ErrorKind::NotFound,
        "newest version is 3",
    ),
    ("SELECT * FROM \"v$changes\"", ErrorKind::Invalid, ""),
    ("SELECT * FROM \"nope$changes\"", ErrorKind::NotFound, ""),
    (
        "SELECT * FROM \"t$change\"",
        ErrorKind::NotFound,
        "$changes",
    ),
    ("SELECT * FROM udr.\"change@1..\"", ErrorKind::NotFound, ""),
    (
        "SELECT * FROM udr.\"changes$t,t@1..\"",
        ErrorKind::Invalid,
        "",
    ),
    (
        "SELECT * FROM table_changes('t')",
        ErrorKind::Invalid,
        "table_changes('t', 3, 7)",
    ),
    (
        "SELECT * FROM table_changes(t, 1)",
        ErrorKind::Invalid,
        "table_changes('t', 3, 7)",
    ),
    (
        "SELECT * FROM table_changes('t', 1, 2, 3)",
        ErrorKind::Invalid,
        "table_changes",
    ),
    (
        "SELECT * FROM table_changes('t', 1, net => 1)",
        ErrorKind::Invalid,
        "net_changes",
    ),
    (
        "SELECT * FROM table_changes('t@2', 1)",
        ErrorKind::Invalid,
        "",
    ),
    (
        "SELECT * FROM table_changes('t', 'a..b')",
        ErrorKind::Invalid,
        "",
    ),
    (
        "SELECT * FROM udr_changes()",
        ErrorKind::Invalid,
        "udr_changes(3, 7)",
    ),
    (
        "SELECT * FROM table_changes('t', 3, 2)",
        ErrorKind::Invalid,
        "",
    ),
    (
        "SELECT * FROM udr_changes(1, 2, 'main.public.t')",
        ErrorKind::Invalid,
        "dev.udr",
    ),
    (
        "SELECT * FROM udr_changes(1, 2, 't,u')",
        ErrorKind::Invalid,
        "",
    ),
];

#[tokio::test]
async fn what_is_no_feed_is_refused_with_what_would_be_one() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.create_view("v", "SELECT 1 AS x").await;
    for (sql, kind, says) in NO_FEEDS {
        let (found, text, hint) = f.sql_refused(sql).await;
        assert_eq!(found, kind, "{sql}: {text}");
        assert!(hint.contains(says), "{sql}: {text}: {hint}");
    }
}

#[tokio::test]
async fn what_plain_sql_or_a_table_of_its_own_has_no_place_for_is_refused() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    for sql in [
        "SELECT * FROM table_changes('t', 1)",
        "SELECT * FROM udr_changes(1)",
    ] {
        let (kind, text) = f.refused(sql).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{text}");
    }
    f.sql("CREATE TABLE odd (id INT, _change_type TEXT)").await;
    f.sql("INSERT INTO odd VALUES (1, 'mine')").await;
    let (kind, _, hint) = f.sql_refused("SELECT * FROM \"odd$changes\"").await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(hint.contains("udr_changes"), "{hint}");
    let apart = "SELECT odd._change_type FROM udr.\"changes$odd@2..\"";
    assert_eq!(f.rows(apart).await, ["mine"]);
    f.create("e", &id_and_name()).await;
    assert_eq!(
        f.rows("SELECT * FROM \"e$changes\"").await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn columns_of_two_branches_are_not_taken_for_each_other() {
    let f = Fixture::new().await;
    f.sql("CREATE TABLE t (id INT, gone INT DEFAULT 5)").await;
    f.sql("INSERT INTO t VALUES (1, 1)").await;
    f.sql("CREATE BRANCH dev").await;
    f.sql("USE BRANCH dev").await;
    f.sql("ALTER TABLE t ADD COLUMN x INT").await;
    f.sql("INSERT INTO t VALUES (2, 2, 100)").await;
    f.sql("USE BRANCH main").await;
    // Columns of one of them are of that one only.
    f.sql("INSERT INTO t VALUES (3, 3)").await;
    let net = "SELECT _change_type, id FROM \"t$net_changes@dev..main\" ORDER BY id";
    assert_eq!(f.rows(net).await, ["delete 2", "insert 3"]);
    let net = "SELECT id, x FROM \"t$net_changes@main..dev\" ORDER BY id";
    assert_eq!(f.rows(net).await, ["2 100", "3 "]);
    f.sql("ALTER TABLE t ADD COLUMN y INT").await;
    let (kind, text, _) = f
        .sql_refused("SELECT y FROM \"t$net_changes@dev..main\"")
        .await;
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("both branches added columns"), "{text}");
    // A row that came after a column had gone does not have its initial value.
    f.sql("ALTER TABLE t ADD COLUMN z INT DEFAULT 7").await;
    let with = f.version().await;
    f.sql("ALTER TABLE t DROP COLUMN z").await;
    f.sql("INSERT INTO t VALUES (9, 9, 9)").await;
    let back = format!("SELECT id, z, _change_type FROM \"t$net_changes@HEAD..{with}\"");
    assert_eq!(f.rows(&back).await, ["9  delete"]);
    let first = format!("SELECT z FROM \"t$changes@..{with}\"");
    assert_eq!(f.rows(&first).await, ["7", "7"]);
}

#[tokio::test]
async fn a_branch_from_the_middle_of_a_merge_has_all_that_led_to_it() {
    let f = Fixture::with_table().await;
    f.sql("CREATE BRANCH dev").await;
    f.sql("USE BRANCH dev").await;
    for id in 1..=3 {
        f.sql(&format!("INSERT INTO t VALUES ({id}, 'x')")).await;
    }
    f.sql("USE BRANCH main").await;
    f.sql("MERGE BRANCH dev INTO main").await;
    // All three are of one version, and of ascending sequences.
    let merged = "SELECT id FROM table_changes('t', 2, 2)";
    assert_eq!(f.rows(merged).await, ["1", "2", "3"]);
    let merged = "SELECT count(DISTINCT _commit_version), count(DISTINCT _commit_sequence) \
                  FROM \"t$changes\"";
    assert_eq!(f.rows(merged).await, ["1 3"]);
    f.sql("DROP BRANCH dev").await;
    f.sql("CREATE BRANCH mid FROM 'main~1'").await;
    f.sql("USE BRANCH mid").await;
    assert_eq!(f.rows("SELECT id FROM \"t$changes\"").await, ["1", "2"]);
    // Its version 0 is the commit that it was made from.
    assert_eq!(f.rows("SELECT id FROM table_changes('t', 0)").await, ["2"]);
    f.sql("INSERT INTO t VALUES (7, 'y')").await;
    assert_eq!(
        f.rows("SELECT id FROM \"t$changes@main~3..\"").await,
        ["1", "2", "7"]
    );
    assert_eq!(
        f.rows("SELECT id FROM \"t$changes@main~2..\"").await,
        ["2", "7"]
    );
    let (kind, ..) = f.sql_refused("SELECT id FROM \"t$changes@main..\"").await;
    assert_eq!(kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn views_keep_what_their_feeds_are_of() {
    let f = Fixture::with_table().await;
    f.sql("INSERT INTO t VALUES (1, 'a')").await;
    f.sql("CREATE SCHEMA sales").await;
    f.sql("CREATE TABLE sales.t (id BIGINT, name TEXT)").await;
    f.sql("INSERT INTO sales.t VALUES (50, 'sold')").await;
    f.sql("CREATE VIEW apart AS SELECT t.id AS id FROM udr_changes(1, 'main', 't')")
        .await;
    f.sql("CREATE VIEW mixed AS SELECT id FROM \"t$net_changes@2..main\"")
        .await;
    f.sql("CREATE VIEW first AS SELECT id FROM table_changes('t', 2, 2)")
        .await;
    f.sql("CREATE VIEW always AS SELECT id FROM table_changes('t', '1999-12-31')")
        .await;
    f.sql("CREATE BRANCH dev").await;
    f.sql("USE BRANCH dev").await;
    for id in 10..13 {
        f.sql(&format!("INSERT INTO t VALUES ({id}, 'dev')")).await;
    }
    f.sql("USE BRANCH main").await;
    f.sql("INSERT INTO t VALUES (2, 'b')").await;
    f.sql("USE BRANCH dev").await;
    f.sql("SET datafusion.catalog.default_schema = 'sales'")
        .await;
    assert_eq!(f.rows("SELECT id FROM public.apart").await, ["1", "2"]);
    assert_eq!(f.rows("SELECT id FROM public.mixed").await, ["2"]);
    assert_eq!(f.rows("SELECT id FROM public.first").await, ["1"]);
    assert_eq!(f.rows("SELECT count(*) FROM public.always").await, ["4"]);
    let plain = "SELECT t.id FROM udr_changes(1, 'main', 't')";
    assert_eq!(f.rows(plain).await, ["50"]);
}

#[tokio::test]
async fn names_are_looked_up_before_times_and_folded_like_other_names() {
    let f = Fixture::with_table().await;
    f.sql("INSERT INTO t VALUES (1, 'a')").await;
    f.sql("CREATE TAG \"2026-01-01\"").await;
    f.sql("INSERT INTO t VALUES (2, 'b')").await;
    let since = "SELECT id FROM table_changes('T', '2026-01-01')";
    assert_eq!(f.rows(since).await, ["1", "2"]);
    let since = "SELECT t.id FROM udr_changes('2026-01-01', 'HEAD', 'T')";
    assert_eq!(f.rows(since).await, ["2"]);
    // The time of a state is when it was published, whatever names it since.
    let times = async |range: &str| {
        let sql = format!("SELECT DISTINCT _commit_timestamp, _commit_version FROM {range}");
        f.rows(&sql).await
    };
    assert_eq!(
        times("\"t$net_changes@1..2026-01-01\"").await,
        times("\"t$changes@1..2\"").await
    );
    f.sql("CREATE TABLE _table (x INT)").await;
    f.sql("INSERT INTO _table VALUES (1)").await;
    let (kind, _, hint) = f
        .sql_refused("SELECT * FROM udr_changes(2, 'HEAD', '_table')")
        .await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(hint.contains("public._table"), "{hint}");
    // A filter that fails is asked of rows only.
    f.sql("BEGIN").await;
    f.sql("INSERT INTO t VALUES (3, 'c')").await;
    f.sql("COMMIT MESSAGE '17'").await;
    let number = "SELECT t.id FROM udr_changes(4, 'HEAD', 't') \
                  WHERE CAST(_commit_message AS BIGINT) > 3";
    assert_eq!(f.rows(number).await, ["3"]);
    f.sql("BEGIN ISOLATION LEVEL SERIALIZABLE").await;
    let (kind, ..) = f.sql_refused("SELECT count(*) FROM udr.changes").await;
    assert_eq!(kind, ErrorKind::Unsupported);
    f.sql("ROLLBACK").await;
}

#[tokio::test]
async fn partitioned_and_imported_tables_have_feeds_too() {
    let f = Fixture::new().await;
    f.sql("CREATE TABLE p (id INT, day DATE) PARTITIONED BY (month(day), bucket(4, id))")
        .await;
    f.sql(
        "INSERT INTO p SELECT value, DATE '2024-01-01' + CAST(value AS INT) \
         FROM generate_series(0, 199)",
    )
    .await;
    f.sql("DELETE FROM p WHERE id % 7 = 0").await;
    f.sql("UPDATE p SET day = DATE '2023-12-31' WHERE id = 100")
        .await;
    let month = "SELECT _change_type || ' ' || count(*) FROM \"p$changes\" \
                 WHERE day >= DATE '2024-03-01' AND day < DATE '2024-04-01' \
                 GROUP BY _change_type ORDER BY _change_type";
    assert_eq!(f.rows(month).await, ["delete 4", "insert 31"]);
    let point = "SELECT _change_type, day FROM \"p$changes\" WHERE id = 100 \
                 ORDER BY _commit_sequence, _change_type DESC";
    assert_eq!(
        f.rows(point).await,
        [
            "insert 2024-04-10",
            "update_preimage 2024-04-10",
            "update_postimage 2023-12-31"
        ]
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.parquet");
    let copy = format!(
        "COPY (SELECT value AS id, [value] AS list FROM generate_series(1, 10)) TO '{}' \
         STORED AS PARQUET",
        file.display()
    );
    f.sql(&copy).await;
    f.sql(&format!("IMPORT PARQUET '{}' INTO i", file.display()))
        .await;
    f.sql("UPDATE i SET list = [0] WHERE id = 3").await;
    let feed = "SELECT _change_type || ' ' || count(*) || ' ' || sum(list[1]) FROM \"i$changes\" \
                GROUP BY _change_type ORDER BY _change_type";
    assert_eq!(
        f.rows(feed).await,
        [
            "insert 10 55",
            "update_postimage 1 0",
            "update_preimage 1 3"
        ]
    );
    f.check().await;
}

/// The next rows of a stream, with spaces between values.
async fn next(stream: &mut SendableRecordBatchStream) -> Vec<String> {
    let next = tokio::time::timeout(Duration::from_secs(20), stream.next());
    let batch = next.await.unwrap().unwrap().unwrap();
    let mut rows = Vec::new();
    for row in 0..batch.num_rows() {
        let values = batch
            .columns()
            .iter()
            .take(3)
            .map(|column| arrow::util::display::array_value_to_string(column, row).unwrap());
        rows.push(values.collect::<Vec<_>>().join(" "));
    }
    rows
}

#[tokio::test]
async fn a_subscription_gives_rows_as_they_are_committed() {
    let f = Fixture::with_table().await;
    f.sql("INSERT INTO t VALUES (1, 'a')").await;
    f.sql("INSERT INTO t VALUES (2, 'b')").await;
    let frame = udr_sql(&f.ctx, "SUBSCRIBE TO t FROM 2").await.unwrap();
    assert!(udr_datafusion::is_unbounded(frame.logical_plan()));
    let mut stream = frame.execute_stream().await.unwrap();
    assert_eq!(next(&mut stream).await, ["2 b insert"]);
    let from_now = "SELECT id, name, _change_type FROM \"t$tail\" WHERE id > 3";
    let frame = f.ctx.sql(from_now).await.unwrap();
    let mut from_now = frame.execute_stream().await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(60), from_now.next());
    assert!(nothing.await.is_err());
    let other = f.other().await;
    other.sql("INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(next(&mut stream).await, ["3 c insert"]);
    other.sql("CREATE TABLE u (x INT)").await;
    other.sql("UPDATE t SET name = 'C' WHERE id = 3").await;
    assert_eq!(next(&mut stream).await, ["3 c update_preimage"]);
    assert_eq!(next(&mut stream).await, ["3 C update_postimage"]);
    // What a table is counted to have does not end it; other columns do, and it says where to go on.
    other.sql("ANALYZE TABLE t").await;
    other.sql("DELETE FROM t WHERE id = 1").await;
    assert_eq!(next(&mut stream).await, ["1 a delete"]);
    other.sql("INSERT INTO t VALUES (5, 'e')").await;
    assert_eq!(next(&mut stream).await, ["5 e insert"]);
    assert_eq!(next(&mut from_now).await, ["5 e insert"]);
    other.sql("ALTER TABLE t ADD COLUMN more INT").await;
    let error = stream.next().await.unwrap().unwrap_err();
    let error = udr_error(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let hint = error.hint().unwrap().to_owned();
    let from = hint.strip_prefix("subscribe again from ").unwrap();
    other.sql("INSERT INTO t VALUES (4, 'd', 40)").await;
    let again = format!("SUBSCRIBE TO public.t FROM {from}");
    let frame = udr_sql(&f.ctx, &again).await.unwrap();
    let mut stream = frame.execute_stream().await.unwrap();
    assert_eq!(next(&mut stream).await, ["4 d 40"]);
    // What was there before the columns changed is read as they are since.
    let frame = udr_sql(&f.ctx, "SUBSCRIBE TO t FROM 1").await.unwrap();
    let mut all = frame.execute_stream().await.unwrap();
    assert_eq!(next(&mut all).await, ["1 a "]);
    for (sql, kind) in [
        ("SUBSCRIBE TO nope", ErrorKind::NotFound),
        ("SUBSCRIBE TO \"t$rows\"", ErrorKind::Invalid),
        ("SUBSCRIBE TO t FROM 99", ErrorKind::NotFound),
        ("SELECT * FROM \"t$tail@2..3\"", ErrorKind::Invalid),
    ] {
        assert_eq!(f.sql_refused(sql).await.0, kind, "{sql}");
    }
    let endless = "INSERT INTO u SELECT id FROM \"t$tail\"";
    assert_eq!(f.sql_refused(endless).await.0, ErrorKind::Invalid);
    // What needs all rows first cannot be run.
    let all = f.try_run("SELECT max(id) FROM \"t$tail\"").await;
    assert!(all.is_err());
    f.sql("BEGIN").await;
    let (kind, ..) = f.sql_refused("SUBSCRIBE TO t").await;
    assert_eq!(kind, ErrorKind::Invalid);
    f.sql("ROLLBACK").await;
    other.sql("DROP TABLE t").await;
    let error = stream.next().await.unwrap().unwrap_err();
    let error = udr_error(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
