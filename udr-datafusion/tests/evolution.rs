//! Columns change; rows, versions, branches and other sessions do not notice more than they should.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

async fn with_rows() -> Fixture {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT NOT NULL, d DATE, p DECIMAL(5, 2), s STRUCT<x INT, y VARCHAR>)")
        .await;
    f.udr("INSERT INTO t VALUES (1, '2024-01-01', 1.25, named_struct('x', 1, 'y', 'one')), (2, NULL, NULL, NULL)")
        .await;
    f
}

/// What is not done to a column, and what the error says.
const REFUSED: &[(&str, ErrorKind, &str)] = &[
    (
        "ALTER COLUMN id TYPE SMALLINT",
        ErrorKind::Invalid,
        "BIGINT",
    ),
    (
        "ALTER COLUMN id TYPE VARCHAR",
        ErrorKind::Invalid,
        "longer ones",
    ),
    (
        "ALTER COLUMN id TYPE DOUBLE",
        ErrorKind::Invalid,
        "longer ones",
    ),
    (
        "ALTER COLUMN p TYPE DECIMAL(10, 3)",
        ErrorKind::Invalid,
        "scale",
    ),
    (
        "ALTER COLUMN p TYPE DECIMAL(50, 2)",
        ErrorKind::Invalid,
        "38",
    ),
    (
        "ALTER COLUMN d TYPE VARCHAR",
        ErrorKind::Invalid,
        "TIMESTAMP",
    ),
    ("ALTER COLUMN s TYPE INT", ErrorKind::Invalid, "UPDATE"),
    (
        "RENAME COLUMN id TO d",
        ErrorKind::AlreadyExists,
        "of this name",
    ),
    (
        "RENAME COLUMN s.x TO y",
        ErrorKind::AlreadyExists,
        "of this name",
    ),
    (
        "RENAME COLUMN idd TO x",
        ErrorKind::NotFound,
        "did you mean `id`",
    ),
    ("RENAME COLUMN s.xx TO z", ErrorKind::NotFound, "s.xx"),
    ("RENAME COLUMN id TO _udr_id", ErrorKind::Invalid, "_udr_"),
    (
        "ADD COLUMN id INT",
        ErrorKind::AlreadyExists,
        "of this name",
    ),
    (
        "ADD COLUMN s.x INT",
        ErrorKind::AlreadyExists,
        "of this name",
    ),
    ("ADD COLUMN id.x INT", ErrorKind::Invalid, "struct"),
    ("ADD COLUMN n INT NOT NULL", ErrorKind::Invalid, "NULL"),
    (
        "ADD COLUMN n INT DEFAULT random()",
        ErrorKind::Invalid,
        "constant",
    ),
    ("ADD COLUMN n INT DEFAULT 'x'", ErrorKind::Invalid, "value"),
    (
        "ADD COLUMN n DOUBLE DEFAULT 'NaN'",
        ErrorKind::Invalid,
        "initial",
    ),
    (
        "ADD COLUMN s.z INT DEFAULT 3",
        ErrorKind::Invalid,
        "default",
    ),
    (
        "ADD COLUMN n INT AFTER nowhere",
        ErrorKind::NotFound,
        "nowhere",
    ),
    (
        "ADD COLUMN n INT[] DEFAULT [1]",
        ErrorKind::Unsupported,
        "UPDATE",
    ),
    (
        "ALTER COLUMN s.x SET NOT NULL",
        ErrorKind::Unsupported,
        "parts",
    ),
    (
        "ALTER COLUMN id AFTER nowhere",
        ErrorKind::NotFound,
        "nowhere",
    ),
    ("DROP COLUMN nowhere", ErrorKind::NotFound, "nowhere"),
    (
        "DROP COLUMN s.x, DROP COLUMN s.y",
        ErrorKind::Invalid,
        "last",
    ),
];

#[tokio::test]
async fn what_cannot_be_altered_is_refused_and_says_what_would_work() {
    let f = with_rows().await;
    let version = f.version().await;
    for (operation, kind, says) in REFUSED {
        let sql = format!("ALTER TABLE t {operation}");
        let (found, text) = f.udr_refused(&sql).await;
        assert_eq!(found, *kind, "{sql}: {text}");
        assert!(text.contains(says), "{sql}: {text}");
    }
    for operation in [
        "ADD COLUMN n INT GENERATED ALWAYS AS (id + 1) STORED",
        "ADD COLUMN n INT UNIQUE",
        "ALTER COLUMN id TYPE BIGINT USING id + 1",
        "ALTER COLUMN id",
        "DROP COLUMN id CASCADE",
    ] {
        let sql = format!("ALTER TABLE t {operation}");
        assert!(f.try_udr(&sql).await.is_err(), "{sql}");
    }
    assert_eq!(f.version().await, version);
    assert!(f.udr("ALTER TABLE t DROP COLUMN IF EXISTS nowhere").await[0].starts_with("unchanged"));
    assert!(
        f.udr("ALTER TABLE t ADD COLUMN IF NOT EXISTS id INT").await[0].starts_with("unchanged")
    );
    f.check().await;
}

#[tokio::test]
async fn a_column_that_is_used_stays() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE p (id INT PRIMARY KEY, k INT UNIQUE)")
        .await;
    f.udr("CREATE TABLE t (a INT CHECK (a > 0), b INT, c INT GENERATED ALWAYS AS (b + 1) STORED, k INT REFERENCES p (k))")
        .await;
    for (sql, says) in [
        ("ALTER TABLE t DROP COLUMN a", "t_a_check"),
        ("ALTER TABLE t RENAME COLUMN a TO x", "t_a_check"),
        ("ALTER TABLE t DROP COLUMN b", "by=`c`"),
        ("ALTER TABLE t RENAME COLUMN b TO x", "by=`c`"),
        ("ALTER TABLE t DROP COLUMN k", "t_k_fkey"),
        ("ALTER TABLE p DROP COLUMN id", "p_pkey"),
        ("ALTER TABLE p ALTER COLUMN k TYPE BIGINT", "t_k_fkey"),
        ("ALTER TABLE t ALTER COLUMN k TYPE BIGINT", "another type"),
    ] {
        let (kind, text) = f.udr_refused(sql).await;
        assert_eq!(kind, ErrorKind::Invalid, "{sql}: {text}");
        assert!(text.contains(says), "{sql}: {text}");
    }
    // Keys are known by id.
    f.udr("ALTER TABLE p RENAME COLUMN id TO ident, ALTER COLUMN ident TYPE BIGINT")
        .await;
    f.udr("INSERT INTO p VALUES (1, 1)").await;
    assert!(
        f.udr_refused("INSERT INTO p VALUES (1, 2)")
            .await
            .1
            .contains("p_pkey")
    );
    f.udr("ALTER TABLE t DROP COLUMN c, DROP COLUMN b").await;
    f.check().await;
}

#[tokio::test]
async fn versions_branches_and_transactions_keep_their_columns() {
    let f = with_rows().await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("ALTER TABLE t RENAME COLUMN p TO price, ADD COLUMN extra VARCHAR DEFAULT 'x'")
        .await;
    assert_eq!(
        f.udr("SELECT id, price, extra FROM t").await,
        ["1|1.25|x", "2||x"]
    );
    assert_eq!(
        f.udr("SELECT id, p FROM t VERSION AS OF 2").await,
        ["1|1.25", "2|"]
    );
    f.udr("USE BRANCH dev").await;
    assert_eq!(f.udr("SELECT id, p FROM t").await, ["1|1.25", "2|"]);
    f.udr("ALTER TABLE t DROP COLUMN p").await;
    f.udr("USE BRANCH main").await;
    assert_eq!(f.udr("SELECT price FROM t WHERE id = 1").await, ["1.25"]);

    f.udr("BEGIN").await;
    f.udr("ALTER TABLE t ALTER COLUMN d TYPE TIMESTAMP, DROP COLUMN price")
        .await;
    f.udr("INSERT INTO t (id, d) VALUES (3, '2024-01-01 12:00:00')")
        .await;
    f.udr("SAVEPOINT a").await;
    f.udr("ALTER TABLE t RENAME COLUMN d TO at").await;
    assert_eq!(
        f.udr("SELECT id, at FROM t WHERE at >= TIMESTAMP '2024-01-01' ORDER BY id")
            .await,
        ["1|2024-01-01T00:00:00", "3|2024-01-01T12:00:00"]
    );
    f.udr("ROLLBACK TO a").await;
    f.udr("DELETE FROM t WHERE d = TIMESTAMP '2024-01-01'")
        .await;
    f.udr("ALTER TABLE t ALTER COLUMN id TYPE BIGINT").await;
    assert_eq!(f.udr("SELECT id FROM t ORDER BY id").await, ["2", "3"]);
    f.udr("COMMIT").await;
    assert_eq!(
        f.udr("SELECT id, extra FROM t ORDER BY id").await,
        ["2|x", "3|x"]
    );
    f.check().await;
}

#[tokio::test]
async fn rows_that_others_write_meanwhile_fit_the_columns_or_conflict() {
    let f = with_rows().await;
    let (a, b) = (f.other().await, f.other().await);

    a.udr("BEGIN").await;
    a.udr("INSERT INTO t (id, p) VALUES (3, 3)").await;
    b.udr("ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 7, RENAME COLUMN p TO q, DROP COLUMN d")
        .await;
    a.udr("COMMIT").await;
    assert_eq!(
        f.udr("SELECT id, q, n FROM t ORDER BY id").await,
        ["1|1.25|7", "2||7", "3|3.00|7"]
    );
    assert_eq!(
        f.udr("SELECT count(n), min(n), count(q) FROM t").await,
        ["3|7|2"]
    );

    a.udr("BEGIN").await;
    a.udr("INSERT INTO t (id) VALUES (4)").await;
    b.udr("ALTER TABLE t ALTER COLUMN q TYPE DECIMAL(9, 2)")
        .await;
    let (kind, _) = a.udr_refused("COMMIT").await;
    assert_eq!(kind, ErrorKind::Conflict);

    // The other way round, the rows that are there by then become of the new type.
    a.udr("BEGIN").await;
    a.udr("ALTER TABLE t ALTER COLUMN id TYPE BIGINT").await;
    b.udr("INSERT INTO t (id) VALUES (5)").await;
    a.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT id FROM t WHERE id >= 5").await, ["5"]);

    a.udr("BEGIN").await;
    a.udr("ALTER TABLE t RENAME COLUMN q TO r").await;
    b.udr("ALTER TABLE t ADD COLUMN z INT").await;
    assert_eq!(a.udr_refused("COMMIT").await.0, ErrorKind::Conflict);
    f.check().await;
}

#[tokio::test]
async fn dates_beyond_timestamps_are_not_widened() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (d DATE)").await;
    f.udr("INSERT INTO t VALUES ('9999-12-31')").await;
    let (kind, text) = f
        .udr_refused("ALTER TABLE t ALTER COLUMN d TYPE TIMESTAMP")
        .await;
    assert_eq!(kind, ErrorKind::Invalid, "{text}");
    f.udr("ALTER TABLE t ALTER COLUMN d TYPE TIMESTAMP(6)")
        .await;
    assert_eq!(f.udr("SELECT d FROM t").await, ["9999-12-31T00:00:00"]);
    f.check().await;
}

#[tokio::test]
async fn a_name_that_is_used_again_has_none_of_the_old_values() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT, raw BYTEA, d DOUBLE)").await;
    f.udr("INSERT INTO t VALUES (1, X'ff00', 'NaN'), (2, X'61', 1)")
        .await;
    f.udr("ALTER TABLE t RENAME COLUMN raw TO old, ADD COLUMN raw VARCHAR")
        .await;
    f.udr("ALTER TABLE t RENAME COLUMN d TO e, ADD COLUMN d DOUBLE")
        .await;
    f.udr("INSERT INTO t (id, raw, old, d, e) VALUES (3, 'text', X'fe', 2, 3)")
        .await;
    assert_eq!(
        f.udr("SELECT id, raw FROM t ORDER BY id").await,
        ["1|", "2|", "3|text"]
    );
    assert_eq!(
        f.udr("SELECT id FROM t WHERE raw IS NULL ORDER BY id")
            .await,
        ["1", "2"]
    );
    assert_eq!(
        f.udr("SELECT id, old FROM t ORDER BY id").await,
        ["1|ff00", "2|61", "3|fe"]
    );
    assert_eq!(
        f.udr("SELECT id FROM t WHERE e > 1 ORDER BY id").await,
        ["1", "3"]
    );
    assert_eq!(
        f.udr("SELECT id FROM t WHERE d > 1 ORDER BY id").await,
        ["3"]
    );
    f.check().await;
}

#[tokio::test]
async fn parts_below_lists_and_maps_change_too() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT, l STRUCT<a INT, b INT>[])")
        .await;
    f.udr("INSERT INTO t VALUES (1, [named_struct('a', 1, 'b', 2)]), (2, NULL), (3, [])")
        .await;
    f.udr("ALTER TABLE t RENAME COLUMN l.element.a TO x, ADD COLUMN l.element.c VARCHAR FIRST")
        .await;
    f.udr("ALTER TABLE t ALTER COLUMN l.element.x TYPE BIGINT, DROP COLUMN l.element.b")
        .await;
    f.udr("INSERT INTO t VALUES (4, [named_struct('c', 'new', 'x', 5000000000)])")
        .await;
    assert_eq!(
        f.udr("SELECT id, l FROM t ORDER BY id").await,
        [
            "1|[{c: , x: 1}]",
            "2|",
            "3|[]",
            "4|[{c: new, x: 5000000000}]"
        ]
    );
    f.udr("UPDATE t SET id = id + 10 WHERE id = 1").await;
    assert_eq!(
        f.udr("SELECT l FROM t WHERE id = 11").await,
        ["[{c: , x: 1}]"]
    );
    f.check().await;
}

#[tokio::test]
async fn an_insert_brings_its_columns_along() {
    let f = with_rows().await;
    let version = f.version().await;
    let insert = "INSERT INTO t WITH SCHEMA EVOLUTION \
                  SELECT 3 AS id, 'new' AS note, named_struct('z', 1.5, 'x', 7) AS s";
    // Explained, nothing happens.
    f.udr(&format!("EXPLAIN {insert}")).await;
    assert_eq!(f.version().await, version);
    f.udr(insert).await;
    assert_eq!(f.version().await, version + 1);
    assert_eq!(
        f.udr("SELECT id, note, s, p FROM t WHERE id <> 2 ORDER BY id")
            .await,
        ["1||{x: 1, y: one, z: }|1.25", "3|new|{x: 7, y: , z: 1.5}|",]
    );
    // A literal widens nothing; what has a type does.
    assert_eq!(
        f.udr("SELECT DISTINCT arrow_typeof(id) FROM t").await,
        ["Int32"]
    );
    f.udr("INSERT INTO t WITH SCHEMA EVOLUTION (id, more) SELECT CAST(5000000000 AS BIGINT), TRUE")
        .await;
    assert_eq!(
        f.udr("SELECT id, more FROM t WHERE id > 2 ORDER BY id")
            .await,
        ["3|", "5000000000|true"]
    );
    assert_eq!(
        f.udr(&format!(
            "SELECT * FROM t VERSION AS OF {version} WHERE id = 1"
        ))
        .await,
        ["1|2024-01-01|1.25|{x: 1, y: one}"]
    );
    // With nothing to add it is an INSERT like any other.
    f.udr("INSERT INTO t WITH SCHEMA EVOLUTION (id) VALUES (9)")
        .await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["5"]);
}

#[tokio::test]
async fn a_merge_brings_its_columns_along() {
    let f = with_rows().await;
    f.udr("CREATE TABLE s (id INT, note VARCHAR, unused INT)")
        .await;
    f.udr("INSERT INTO s VALUES (1, 'changed', 0), (3, 'new', 0)")
        .await;
    let explicit = "MERGE WITH SCHEMA EVOLUTION INTO t USING s ON t.id = s.id \
                    WHEN MATCHED THEN UPDATE SET note = s.note \
                    WHEN NOT MATCHED THEN INSERT (id, note) VALUES (s.id, s.note)";
    f.udr("BEGIN").await;
    f.udr(explicit).await;
    assert_eq!(
        f.udr("SELECT id, p, note FROM t ORDER BY id").await,
        ["1|1.25|changed", "2||", "3||new"]
    );
    assert!(f.try_udr("SELECT unused FROM t").await.is_err());
    f.udr("ROLLBACK").await;
    assert!(f.try_udr("SELECT note FROM t").await.is_err());
    let star = "MERGE WITH SCHEMA EVOLUTION INTO t USING s ON t.id = s.id \
                WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *";
    f.udr(star).await;
    assert_eq!(
        f.udr("SELECT id, p, note, unused FROM t ORDER BY id").await,
        ["1|1.25|changed|0", "2|||", "3||new|0",]
    );
    // On a branch it stays on the branch.
    f.udr("CREATE BRANCH dev").await;
    f.udr("USE BRANCH dev").await;
    f.udr("INSERT INTO t WITH SCHEMA EVOLUTION SELECT 8 AS id, 1 AS \"only here\"")
        .await;
    f.udr("USE BRANCH main").await;
    assert!(f.try_udr("SELECT \"only here\" FROM t").await.is_err());
}

#[tokio::test]
async fn a_statement_that_fails_leaves_no_columns_behind() {
    let f = with_rows().await;
    f.udr("ALTER TABLE t ADD CONSTRAINT small CHECK (id < 100)")
        .await;
    let version = f.version().await;
    let bad = "INSERT INTO t WITH SCHEMA EVOLUTION SELECT 100 AS id, 1 AS more";
    f.udr_refused(bad).await;
    assert_eq!(f.version().await, version);
    f.udr("BEGIN").await;
    f.udr("INSERT INTO t (id) VALUES (4)").await;
    f.udr_refused(bad).await;
    assert!(f.try_udr("SELECT more FROM t").await.is_err());
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["3"]);
    for (refused, says) in [
        ("INSERT INTO t WITH SCHEMA EVOLUTION VALUES (1)", "names"),
        (
            "PREPARE p AS INSERT INTO t WITH SCHEMA EVOLUTION SELECT 1 AS id, 1 AS z",
            "PREPARE",
        ),
        (
            "UPDATE t WITH SCHEMA EVOLUTION SET id = 1",
            "INSERT and MERGE",
        ),
        ("SELECT 1 WITH SCHEMA EVOLUTION", "INSERT and MERGE"),
        (
            "CREATE TABLE z (a INT) WITH SCHEMA EVOLUTION",
            "INSERT and MERGE",
        ),
        (
            "CREATE TABLE z (a INT) WITH SCHEMA EVOLUTION PARTITIONED BY (a)",
            "INSERT and MERGE",
        ),
        (
            "INSERT INTO t WITH SCHEMA EVOLUTION SELECT 1 AS id, INTERVAL '1 day' AS i",
            "",
        ),
    ] {
        let (_, text) = f.udr_refused(refused).await;
        assert!(text.contains(says), "{refused}: {text}");
    }
}

#[tokio::test]
async fn columns_come_along_with_every_kind_of_insert() {
    let f = with_rows().await;
    f.udr("INSERT INTO t WITH SCHEMA EVOLUTION (id, a) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET a = excluded.a")
        .await;
    assert_eq!(
        f.udr("SELECT id, p, a FROM t ORDER BY id").await,
        ["1|1.25|x", "2||"]
    );
    f.udr("INSERT OVERWRITE t WITH SCHEMA EVOLUTION SELECT 7 AS id, 'y' AS b")
        .await;
    assert_eq!(f.udr("SELECT id, a, b FROM t").await, ["7||y"]);
    // In a transaction, after other changes of it.
    f.udr("BEGIN").await;
    f.udr("INSERT INTO t (id) VALUES (8)").await;
    f.udr("INSERT INTO t WITH SCHEMA EVOLUTION SELECT 9 AS id, 'z' AS c")
        .await;
    f.udr("UPDATE t SET c = 'w' WHERE id = 8").await;
    f.udr("COMMIT").await;
    assert_eq!(
        f.udr("SELECT id, b, c FROM t ORDER BY id").await,
        ["7|y|", "8||w", "9||z"]
    );
    f.check().await;
}

#[tokio::test]
async fn two_that_bring_columns_along_do_not_lose_each_others() {
    let a = with_rows().await;
    let b = a.other().await;
    a.udr("BEGIN").await;
    a.udr("INSERT INTO t WITH SCHEMA EVOLUTION SELECT 3 AS id, 'a' AS mine")
        .await;
    b.udr("INSERT INTO t WITH SCHEMA EVOLUTION SELECT 4 AS id, 'b' AS yours")
        .await;
    let (kind, _) = a.udr_refused("COMMIT").await;
    assert_eq!(kind, ErrorKind::Conflict);
    a.udr("INSERT INTO t WITH SCHEMA EVOLUTION SELECT 3 AS id, 'a' AS mine")
        .await;
    assert_eq!(
        b.udr("SELECT id, yours, mine FROM t WHERE id > 2 ORDER BY id")
            .await,
        ["3||a", "4|b|"]
    );
    a.check().await;
}
