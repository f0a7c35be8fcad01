//! Parquet files of others become rows of tables, where they are.

use std::fs;
use std::path::Path;

use datafusion::prelude::SessionContext;
use tempfile::TempDir;
use udr_core::ErrorKind;

use crate::fixture::Fixture;

/// Writes rows as the engine does, without us.
async fn write(folder: &Path, name: &str, query: &str, more: &str) {
    let ctx = SessionContext::new();
    let place = folder.join(name);
    let sql = format!(
        "COPY ({query}) TO '{}' STORED AS PARQUET {more}",
        place.display()
    );
    ctx.sql(&sql).await.unwrap().collect().await.unwrap();
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn files_become_rows_where_they_are() {
    let folder = folder();
    let query = |from: i64| {
        format!(
            "SELECT v AS id, CASE WHEN v % 3 = 0 THEN NULL ELSE 'n' || v END AS name, \
             CASE v % 4 WHEN 0 THEN 'NaN'::DOUBLE WHEN 1 THEN -0.0 ELSE v / 2.0 END AS x, \
             named_struct('a', v, 'b', [v, v + 1]) AS s FROM generate_series({from}, {}) AS g(v)",
            from + 99
        )
    };
    write(folder.path(), "a 1%.parquet", &query(0), "").await;
    write(folder.path(), "b.parquet", &query(100), "").await;
    fs::write(folder.path().join("_SUCCESS"), "").unwrap();
    let f = Fixture::new().await;
    let import = format!("IMPORT PARQUET '{}' INTO t", folder.path().display());
    let done = f.udr(&import).await;
    assert!(done[0].starts_with("2|200|"), "{done:?}");
    // The engine's own reader of Parquet loses rows with NaN.
    let plain = SessionContext::new();
    let made = format!("CREATE TABLE t AS {} UNION ALL {}", query(0), query(100));
    plain.sql(&made).await.unwrap().collect().await.unwrap();
    for query in [
        "SELECT count(*), sum(id), min(id), max(id), min(name), max(name), count(name) FROM t",
        "SELECT id, name, x, s FROM t ORDER BY id",
        "SELECT id FROM t WHERE x > 1e300 ORDER BY id",
        "SELECT id FROM t WHERE x = 0 ORDER BY id",
        "SELECT id FROM t WHERE name IS NULL AND id > 150 ORDER BY id",
        "SELECT s['b'][2] FROM t WHERE s['a'] = 150",
        "SELECT min(x), max(x) FROM t",
    ] {
        let expected = plain.sql(query).await.unwrap().collect().await.unwrap();
        assert_eq!(f.udr(query).await, crate::sql::lines(&expected), "{query}");
    }
    // They are files like others from here on.
    f.udr("UPDATE t SET name = 'changed' WHERE id = 7").await;
    f.udr("DELETE FROM t WHERE id >= 20 AND id < 180").await;
    f.udr("ALTER TABLE t RENAME COLUMN name TO label, ADD COLUMN more INT DEFAULT 5, ALTER COLUMN s.a TYPE BIGINT, DROP COLUMN x")
        .await;
    f.udr("ALTER TABLE t RENAME COLUMN s.b TO list").await;
    assert_eq!(
        f.udr("SELECT id, label, s, more FROM t WHERE id IN (7, 8, 21, 199) ORDER BY id")
            .await,
        [
            "7|changed|{a: 7, list: [7, 8]}|5",
            "8|n8|{a: 8, list: [8, 9]}|5",
            "199|n199|{a: 199, list: [199, 200]}|5",
        ]
    );
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["40"]);
    f.check().await;
    assert!(folder.path().join("b.parquet").exists());
    // A file that changes is noticed.
    let b = folder.path().join("b.parquet");
    f.udr(&format!("IMPORT PARQUET '{}' INTO u", b.display()))
        .await;
    write(folder.path(), "b.parquet", &query(500), "").await;
    let (kind, text) = f.udr_refused("SELECT id FROM u").await;
    assert_eq!(kind, ErrorKind::Corrupt, "{text}");
    fs::remove_file(b).unwrap();
    let (kind, text) = f.udr_refused("SELECT id FROM u").await;
    assert_eq!(kind, ErrorKind::Corrupt, "{text}");
}

#[tokio::test]
async fn folders_are_columns() {
    let folder = folder();
    for day in 0..3 {
        for (kind, name) in [(0, "a%2Fb%2541 c"), (1, "__HIVE_DEFAULT_PARTITION__")] {
            let query = format!(
                "SELECT v AS id FROM generate_series(1, 60) AS g(v) WHERE v % 3 = {day} AND v % 2 = {kind}"
            );
            write(folder.path(), "one.parquet", &query, "").await;
            let place = format!("out/day=2024-01-0{}/kind={name}", day + 1);
            let place = folder.path().join(place);
            fs::create_dir_all(&place).unwrap();
            fs::rename(folder.path().join("one.parquet"), place.join("x.parquet")).unwrap();
        }
    }
    let f = Fixture::new().await;
    let place = folder.path().join("out");
    f.udr(&format!("IMPORT PARQUET '{}' INTO made", place.display()))
        .await;
    f.udr("CREATE TABLE t (kind VARCHAR, id BIGINT NOT NULL, day DATE NOT NULL) PARTITIONED BY (month(day))")
        .await;
    let pattern = format!("IMPORT PARQUET '{}/**/*.parquet' INTO t", place.display());
    f.udr(&pattern).await;
    for table in ["made", "t"] {
        assert_eq!(
            f.udr(&format!(
                "SELECT count(*), count(kind), sum(id) FROM {table}"
            ))
            .await,
            ["60|30|1830"],
            "{table}"
        );
        assert_eq!(
            f.udr(&format!(
                "SELECT id, day, kind FROM {table} WHERE id < 3 ORDER BY id"
            ))
            .await,
            ["1|2024-01-02|", "2|2024-01-03|a/b%41 c"],
            "{table}"
        );
        let plan = f
            .udr(&format!(
                "EXPLAIN ANALYZE SELECT sum(id) FROM {table} WHERE day = '2024-01-02' AND kind IS NULL"
            ))
            .await
            .join("\n");
        assert!(plan.contains("files_pruned=5"), "{plan}");
    }
    assert_eq!(
        f.udr("SELECT count(*) FROM t WHERE kind > 'a' AND day <> '2024-01-02'")
            .await,
        ["20"]
    );
    f.udr("UPDATE t SET kind = 'x' WHERE id = 2").await;
    assert_eq!(
        f.udr("SELECT kind, count(*) FROM t GROUP BY kind ORDER BY kind")
            .await,
        ["a/b%41 c|29", "x|1", "|30"]
    );
    f.check().await;
    // Twice would be the same rows twice.
    let (kind, text) = f.udr_refused(&pattern).await;
    assert_eq!(kind, ErrorKind::AlreadyExists, "{text}");
    f.udr("CREATE TABLE narrow (id BIGINT, day INT)").await;
    let (kind, text) = f
        .udr_refused(&format!("IMPORT PARQUET '{}' INTO narrow", place.display()))
        .await;
    assert_eq!(kind, ErrorKind::Invalid, "{text}");
    assert!(text.contains("2024-01-0"), "{text}");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_says_what_would() {
    let folder = folder();
    write(
        folder.path(),
        "x.parquet",
        "SELECT 1::BIGINT AS id, 'a' AS name UNION ALL SELECT NULL, 'b'",
        "",
    )
    .await;
    fs::write(folder.path().join("no.parquet"), "this is no Parquet file").unwrap();
    let f = Fixture::new().await;
    f.udr("CREATE TABLE few (id BIGINT)").await;
    f.udr("CREATE TABLE other (id INT, name VARCHAR)").await;
    f.udr("CREATE TABLE strict (id BIGINT NOT NULL, name VARCHAR)")
        .await;
    f.udr("CREATE TABLE more (id BIGINT, name VARCHAR, must INT NOT NULL)")
        .await;
    f.udr("CREATE TABLE checked (id BIGINT, name VARCHAR CHECK (name < 'b'))")
        .await;
    f.udr("CREATE TABLE keyed (id BIGINT, name VARCHAR UNIQUE)")
        .await;
    f.udr("INSERT INTO keyed VALUES (7, 'a')").await;
    f.udr("CREATE VIEW v AS SELECT 1 AS one").await;
    let version = f.version().await;
    let x = folder.path().join("x.parquet").display().to_string();
    for (path, table, kind, says) in [
        (x.clone(), "few", ErrorKind::Invalid, "ADD COLUMN"),
        (x.clone(), "other", ErrorKind::Invalid, "COPY"),
        (x.clone(), "strict", ErrorKind::Invalid, "NOT NULL"),
        (x.clone(), "more", ErrorKind::Invalid, "must"),
        (x.clone(), "checked", ErrorKind::Invalid, "check"),
        (x.clone(), "keyed", ErrorKind::Invalid, "key"),
        (x.clone(), "v", ErrorKind::Invalid, "view"),
        (x.clone(), "\"t@dev\"", ErrorKind::Invalid, "newest"),
        (
            folder.path().join("no.parquet").display().to_string(),
            "n",
            ErrorKind::Invalid,
            "Parquet",
        ),
        (
            folder.path().join("*.csv").display().to_string(),
            "n",
            ErrorKind::NotFound,
            "no file",
        ),
        (
            "ftp://host/x.parquet".to_owned(),
            "n",
            ErrorKind::Unsupported,
            "s3://",
        ),
        (String::new(), "n", ErrorKind::Invalid, "empty"),
    ] {
        let sql = format!("IMPORT PARQUET '{path}' INTO {table}");
        let (found, text) = f.udr_refused(&sql).await;
        assert_eq!(found, kind, "{sql}: {text}");
        assert!(text.contains(says), "{sql}: {text}");
    }
    for sql in [
        "IMPORT PARQUET x INTO t",
        "IMPORT PARQUET 'x'",
        "IMPORT PARQUET () INTO t",
    ] {
        assert!(f.try_udr(sql).await.is_err(), "{sql}");
    }
    assert_eq!(f.version().await, version);
}

#[tokio::test]
async fn in_a_transaction_it_is_undone_with_it() {
    let folder = folder();
    write(
        folder.path(),
        "x.parquet",
        "SELECT 1 AS id UNION ALL SELECT 2",
        "",
    )
    .await;
    let x = folder.path().join("x.parquet").display().to_string();
    let f = Fixture::new().await;
    let version = f.version().await;
    f.udr("BEGIN").await;
    f.udr(&format!("IMPORT PARQUET ('{x}') INTO TABLE n")).await;
    assert_eq!(f.udr("SELECT count(*) FROM n").await, ["2"]);
    f.udr("ROLLBACK").await;
    assert_eq!(f.version().await, version);
}

#[tokio::test]
async fn rows_can_be_copied_instead() {
    let folder = folder();
    let query =
        "SELECT v AS id, v % 2 AS kind, 'n' || v AS name FROM generate_series(1, 50) AS g(v)";
    write(folder.path(), "out", query, "PARTITIONED BY (kind)").await;
    write(
        folder.path(),
        "late/x.parquet",
        "SELECT 51 AS id, 1.5 AS more",
        "",
    )
    .await;
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY, kind VARCHAR, name VARCHAR DEFAULT 'none', more DOUBLE)")
        .await;
    let place = folder.path().display();
    let copy = format!("IMPORT PARQUET '{place}/**/*.parquet' INTO t COPY");
    let done = f.udr(&copy).await;
    assert!(done[0].starts_with("3|51|"), "{done:?}");
    assert_eq!(
        f.udr("SELECT kind, count(*), sum(id), count(name), max(more) FROM t GROUP BY kind ORDER BY kind")
            .await,
        ["0|25|650|25|", "1|25|625|25|", "|1|51|0|1.5"]
    );
    let (kind, text) = f.udr_refused(&copy).await;
    assert_eq!(kind, ErrorKind::Invalid, "{text}");
    f.udr(&format!("IMPORT PARQUET '{place}/out' INTO made COPY"))
        .await;
    assert_eq!(
        f.udr("SELECT count(*), sum(kind) FROM made").await,
        ["50|25"]
    );
    // They are files of the repository's own.
    fs::remove_dir_all(folder.path()).unwrap();
    f.check().await;
}

#[tokio::test]
async fn what_folders_say_is_widened_with_their_columns() {
    let folder = folder();
    for day in 1..=2 {
        let place = folder.path().join(format!("day=2024-01-0{day}/n={day}"));
        fs::create_dir_all(&place).unwrap();
        write(&place, "x.parquet", &format!("SELECT {day} AS id"), "").await;
    }
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT, day DATE, n INT)").await;
    f.udr(&format!(
        "IMPORT PARQUET '{}' INTO t",
        folder.path().display()
    ))
    .await;
    assert!(f.udr("SELECT url FROM t$files").await[0].ends_with("day=2024-01-01/n=1/x.parquet"));
    let version = f.version().await;
    f.udr("ALTER TABLE t ALTER COLUMN day TYPE TIMESTAMP, ALTER COLUMN n TYPE BIGINT")
        .await;
    for rows in [
        "SELECT id, day, n FROM t ORDER BY id",
        "SELECT id, day, n FROM t WHERE day >= '2024-01-01' AND n < 3 ORDER BY id",
    ] {
        assert_eq!(
            f.udr(rows).await,
            ["1|2024-01-01T00:00:00|1", "2|2024-01-02T00:00:00|2"],
            "{rows}"
        );
    }
    assert_eq!(
        f.udr("SELECT id FROM t WHERE day = TIMESTAMP '2024-01-02 00:00:00'")
            .await,
        ["2"]
    );
    assert_eq!(
        f.udr(&format!(
            "SELECT day FROM t VERSION AS OF {version} WHERE id = 1"
        ))
        .await,
        ["2024-01-01"]
    );
    // Written anew, the values are in the file.
    f.udr("UPDATE t SET id = id + 10").await;
    assert_eq!(
        f.udr("SELECT id, day FROM t ORDER BY id").await,
        ["11|2024-01-01T00:00:00", "12|2024-01-02T00:00:00"]
    );
    f.check().await;
}

#[tokio::test]
async fn rows_that_fit_no_partition_do_not_make_a_file_one_of_a_partition() {
    let folder = folder();
    // Later batches have instants that are on no day.
    let query = "SELECT v AS id, arrow_cast(CASE WHEN v < 20000 THEN v ELSE 9223372036854775807 END, \
                 'Timestamp(Millisecond, None)') AS at FROM generate_series(0, 30000) AS g(v) ORDER BY v";
    write(folder.path(), "x.parquet", query, "").await;
    let f = Fixture::new().await;
    let import = format!("IMPORT PARQUET '{}' INTO t", folder.path().display());
    f.udr(&import).await;
    f.udr("ALTER TABLE t ADD PARTITION FIELD bucket(4, id), ADD PARTITION FIELD day(at)")
        .await;
    f.udr("TRUNCATE t").await;
    f.udr(&import).await;
    assert_eq!(
        f.udr("SELECT partition FROM t$partitions").await,
        ["id_bucket=*/at_day=*"]
    );
    assert_eq!(
        f.udr(
            "SELECT count(*) FROM t WHERE at >= arrow_cast(20000, 'Timestamp(Millisecond, None)')"
        )
        .await,
        ["10001"]
    );
    assert_eq!(
        f.udr("SELECT count(*) FROM t WHERE id = 30000").await,
        ["1"]
    );
    f.check().await;
}

#[tokio::test]
async fn of_two_that_import_a_file_at_once_one_does() {
    let folder = folder();
    write(folder.path(), "a.parquet", "SELECT 1 AS id", "").await;
    write(folder.path(), "b.parquet", "SELECT 2 AS id", "").await;
    let import = |name: &str| {
        let path = folder.path().join(name);
        format!("IMPORT PARQUET '{}' INTO t", path.display())
    };
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT)").await;
    let other = f.other().await;
    f.udr("BEGIN").await;
    f.udr(&import("a.parquet")).await;
    other.udr(&import("b.parquet")).await;
    other.udr("INSERT INTO t VALUES (3)").await;
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT id FROM t ORDER BY id").await, ["1", "2", "3"]);
    f.udr("DELETE FROM t WHERE id < 3").await;
    f.udr("BEGIN").await;
    f.udr(&import("a.parquet")).await;
    other.udr(&import("a.parquet")).await;
    let committed = udr_datafusion::udr_sql(&f.ctx, "COMMIT").await;
    let error = committed.unwrap_err();
    let error = udr_datafusion::error::udr_error(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("a.parquet"), "{error}");
    assert_eq!(other.udr("SELECT id FROM t ORDER BY id").await, ["1", "3"]);
    f.check().await;
}
