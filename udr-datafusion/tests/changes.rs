//! Change feeds: what commits did to rows, whatever they did to files.

use datafusion::arrow::array::RecordBatch;
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
        let error = result.expect_err(sql);
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
    // A table that goes loses its rows, and one of the same name is another.
    f.sql("DROP TABLE lines").await;
    f.sql("CREATE TABLE lines AS SELECT 'new' AS what").await;
    let dropped = f.version().await - 1;
    let lines = format!(
        "SELECT _commit_version, _table, _change_type FROM udr_changes({start}) \
         WHERE _table LIKE '%lines%' ORDER BY _commit_sequence"
    );
    let old = format!("public.lines@{}", dropped - 1);
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
        let last = format!("end with version {}", f.version().await - 1);
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
    assert!(plan.contains("commits_pruned=10, commits_read=2"), "{plan}");
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

#[tokio::test]
async fn what_is_no_feed_is_refused_with_what_would_be_one() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.create_view("v", "SELECT 1 AS x").await;
    for (sql, kind, says) in [
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
            "SELECT * FROM udr_changes(1, 2, 't,u')",
            ErrorKind::Invalid,
            "",
        ),
    ] {
        let (found, text, hint) = f.sql_refused(sql).await;
        assert_eq!(found, kind, "{sql}: {text}");
        assert!(hint.contains(says), "{sql}: {text}: {hint}");
    }
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
