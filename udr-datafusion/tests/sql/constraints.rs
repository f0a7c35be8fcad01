//! Constraints: what is accepted, what is stored, and that every way of writing rows obeys them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use udr_core::data::{TableWriter, WriteOptions};
use udr_core::env::Env;
use udr_core::store::Store;
use udr_core::{ErrorKind, Repository};
use udr_datafusion::error::udr_error;
use udr_datafusion::{InstallOptions, install};

use crate::fixture::{Fixture, path};

/// Asserts that a statement is refused as `Invalid`, with all of these parts in the message.
async fn broken(f: &Fixture, sql: &str, parts: &[&str]) {
    let (kind, text) = f.udr_refused(sql).await;
    assert_eq!(kind, ErrorKind::Invalid, "{sql}: {text}");
    for part in parts {
        assert!(text.contains(part), "{sql}: {part} is not in {text}");
    }
}

async fn constraints(f: &Fixture, table: &str) -> Vec<String> {
    f.udr(&format!("SELECT * FROM \"{table}$constraints\""))
        .await
}

#[tokio::test]
async fn constraints_are_shown_as_they_were_declared() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE parent (a INT, b TEXT, PRIMARY KEY (a), CONSTRAINT pair UNIQUE (b, a))")
        .await;
    f.udr(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, \"Code\" TEXT UNIQUE, \
         price INT DEFAULT 5 CHECK (price > 0), a INT REFERENCES parent, b TEXT NOT NULL, \
         total BIGINT GENERATED ALWAYS AS (price * 2), \
         CONSTRAINT cheap CHECK (price < 100 OR b = 'x'), \
         FOREIGN KEY (b, a) REFERENCES parent (b, a), CHECK (id > 0))",
    )
    .await;
    assert_eq!(
        constraints(&f, "t").await,
        [
            "cheap|CHECK||CHECK (price < 100 OR b = 'x')",
            "t_check|CHECK||CHECK (id > 0)",
            "t_pkey|PRIMARY KEY|id|PRIMARY KEY (id)",
            "t_Code_key|UNIQUE|\"Code\"|UNIQUE (\"Code\")",
            "t_price_check|CHECK||CHECK (price > 0)",
            "t_b_a_fkey|FOREIGN KEY|b, a|FOREIGN KEY (b, a) REFERENCES public.parent (b, a)",
            "t_a_fkey|FOREIGN KEY|a|FOREIGN KEY (a) REFERENCES public.parent (a)",
            "|NOT NULL|id|NOT NULL",
            "|DEFAULT|price|DEFAULT 5",
            "|NOT NULL|b|NOT NULL",
            "|GENERATED|total|GENERATED ALWAYS AS (price * 2) STORED",
        ]
    );
    f.check().await;
}

#[tokio::test]
async fn a_row_that_breaks_a_check_is_refused_wherever_it_comes_from() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT, price INT CONSTRAINT positive CHECK (price > 0))")
        .await;
    let parts = ["positive", "public.t", "price > 0", "id=2, price=-5"];
    broken(&f, "INSERT INTO t VALUES (1, 3), (2, -5)", &parts).await;
    broken(&f, "INSERT OVERWRITE t VALUES (2, -5)", &parts).await;
    broken(&f, "INSERT INTO t SELECT 2, -5", &parts).await;
    broken(
        &f,
        "CREATE TABLE u (id INT, price INT, CONSTRAINT positive CHECK (price > 0)) \
         AS SELECT 2, -5",
        &["positive", "public.u", "id=2, price=-5"],
    )
    .await;
    let plain = f.try_run("INSERT INTO t VALUES (2, -5)").await.unwrap_err();
    assert!(plain.to_string().contains("positive"), "{plain}");
    assert_eq!(f.version().await, 1);
    // NULL is not false.
    f.udr("INSERT INTO t VALUES (3, NULL), (4, 1)").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["2"]);
    f.udr("BEGIN").await;
    f.udr("INSERT INTO t VALUES (5, 5)").await;
    broken(&f, "INSERT INTO t VALUES (2, -5)", &parts).await;
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["3"]);
    f.check().await;
}

#[tokio::test]
async fn a_null_is_refused_with_its_row() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT NOT NULL, name TEXT)").await;
    broken(
        &f,
        "INSERT INTO t VALUES (1, 'a'), (NULL, 'b')",
        &["NOT NULL", "column=`id`", "public.t", "id=NULL, name=b"],
    )
    .await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test]
async fn generated_columns_are_computed_and_take_no_values() {
    let f = Fixture::new().await;
    f.udr(
        "CREATE TABLE t (a INT, b INT GENERATED ALWAYS AS (a * 2) STORED CHECK (b < 100), \
         name TEXT GENERATED ALWAYS AS (concat('n', a)) NOT NULL)",
    )
    .await;
    f.udr("INSERT INTO t (a) VALUES (1), (2)").await;
    f.udr("INSERT INTO t (a) SELECT 3").await;
    assert_eq!(
        f.udr("SELECT * FROM t ORDER BY a").await,
        ["1|2|n1", "2|4|n2", "3|6|n3"]
    );
    broken(
        &f,
        "INSERT INTO t VALUES (1, 7, NULL)",
        &["generated", "column=`b`", "a=1, b=7"],
    )
    .await;
    broken(&f, "INSERT INTO t (a) VALUES (50)", &["t_b_check", "b=100"]).await;
    f.udr("INSERT OVERWRITE t (a) SELECT a + 1 FROM t WHERE a > 2")
        .await;
    assert_eq!(f.udr("SELECT * FROM t").await, ["4|8|n4"]);
    for column in [
        "b INT GENERATED ALWAYS AS (c + 1)",
        "b INT GENERATED ALWAYS AS (b + 1)",
        "b INT GENERATED ALWAYS AS (a), c INT GENERATED ALWAYS AS (b)",
        "b INT GENERATED ALWAYS AS (random())",
        "b INT DEFAULT 1 GENERATED ALWAYS AS (a)",
        "b TIMESTAMP GENERATED ALWAYS AS (now())",
        "b BOOLEAN GENERATED ALWAYS AS (DATE '2026-01-31')",
    ] {
        let sql = format!("CREATE TABLE bad (a INT, {column})");
        broken(&f, &sql, &[]).await;
    }
    f.check().await;
}

#[tokio::test]
async fn a_check_is_of_the_row_alone() {
    let f = Fixture::new().await;
    for check in [
        "a",
        "a + 1",
        "z > 0",
        "count(a) > 0",
        "a IN (SELECT 1)",
        "EXISTS (SELECT 1)",
        "random() > 0.5",
        "now() > '2026-01-01'",
        "udr_use('main') = 'main'",
        "sum(a) OVER () > 1",
        "$1 > 0",
    ] {
        let sql = format!("CREATE TABLE t (a INT, CHECK ({check}))");
        let (kind, text) = f.udr_refused(&sql).await;
        assert_eq!(kind, ErrorKind::Invalid, "{check}: {text}");
    }
    assert_eq!(f.version().await, 0);
}

#[tokio::test]
async fn a_key_is_given_once() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT PRIMARY KEY, code TEXT UNIQUE)")
        .await;
    f.udr("INSERT INTO t VALUES (1, 'a'), (2, NULL), (3, NULL)")
        .await;
    let twice = "two rows have the same key";
    broken(
        &f,
        "INSERT INTO t VALUES (1, 'b')",
        &[twice, "t_pkey", "public.t", "id=1"],
    )
    .await;
    broken(
        &f,
        "INSERT INTO t VALUES (4, 'a')",
        &["t_code_key", "code=a"],
    )
    .await;
    broken(&f, "INSERT INTO t VALUES (5, 'x'), (5, 'y')", &["id=5"]).await;
    broken(
        &f,
        "INSERT OVERWRITE t VALUES (5, 'x'), (5, 'y')",
        &["id=5"],
    )
    .await;
    broken(&f, "INSERT INTO t (code) VALUES ('z')", &["column=`id`"]).await;
    broken(
        &f,
        "CREATE TABLE u (id INT PRIMARY KEY) AS SELECT * FROM (VALUES (1), (1))",
        &["u_pkey"],
    )
    .await;
    f.udr("INSERT OVERWRITE t VALUES (1, 'a'), (7, 'g')").await;
    assert_eq!(f.udr("SELECT id FROM t ORDER BY id").await, ["1", "7"]);
    f.check().await;
}

#[tokio::test]
async fn a_key_of_several_columns_is_that_of_all_of_them() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (a INT, b TEXT, UNIQUE (a, b))").await;
    f.udr("INSERT INTO t VALUES (1, 'x'), (1, 'y'), (2, 'x'), (1, NULL)")
        .await;
    f.udr("INSERT INTO t VALUES (1, NULL), (NULL, 'x'), (NULL, NULL), (NULL, 'x')")
        .await;
    broken(&f, "INSERT INTO t VALUES (2, 'y'), (1, 'y')", &["a=1, b=y"]).await;
    f.udr("INSERT INTO t VALUES (2, 'y')").await;
    f.check().await;
}

#[tokio::test]
async fn a_statement_in_a_transaction_sees_the_keys_of_those_before_it() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY)").await;
    f.udr("INSERT INTO t VALUES (1)").await;
    f.udr("BEGIN").await;
    f.udr("INSERT INTO t VALUES (2)").await;
    broken(&f, "INSERT INTO t VALUES (2)", &["t_pkey", "id=2"]).await;
    broken(&f, "INSERT INTO t VALUES (3), (1)", &["t_pkey", "id=1"]).await;
    // Of a statement that failed nothing is staged.
    assert_eq!(f.udr("SELECT id FROM t ORDER BY id").await, ["1", "2"]);
    f.udr("SAVEPOINT s").await;
    f.udr("INSERT INTO t VALUES (4)").await;
    f.udr("ROLLBACK TO s").await;
    f.udr("INSERT INTO t VALUES (4)").await;
    f.udr("CREATE TABLE u (id INT PRIMARY KEY)").await;
    f.udr("INSERT INTO u VALUES (1)").await;
    broken(&f, "INSERT INTO u VALUES (1)", &["u_pkey"]).await;
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT id FROM t ORDER BY id").await, ["1", "2", "4"]);
    f.check().await;
}

#[tokio::test]
async fn changed_rows_obey_the_rules_for_rows() {
    let f = Fixture::new().await;
    f.udr(
        "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL CHECK (n > 0), \
         double INT GENERATED ALWAYS AS (n * 2))",
    )
    .await;
    f.udr("INSERT INTO t (id, n) VALUES (1, 1), (2, 2), (3, 3)")
        .await;
    broken(
        &f,
        "UPDATE t SET n = n - 2",
        &["t_n_check", "public.t", "n=-1"],
    )
    .await;
    broken(
        &f,
        "UPDATE t SET n = NULL WHERE id = 2",
        &["column=`n`", "id=2, n=NULL"],
    )
    .await;
    broken(
        &f,
        "UPDATE t SET double = 7",
        &["generated", "column=`double`"],
    )
    .await;
    f.udr("UPDATE t SET n = n + 10 WHERE id > 1").await;
    let all = "SELECT * FROM t ORDER BY id";
    assert_eq!(f.udr(all).await, ["1|1|2", "2|12|24", "3|13|26"]);
    let merge = |then: &str| {
        format!("MERGE INTO t USING (VALUES (1, 5), (9, 9)) AS s (id, n) ON t.id = s.id {then}")
    };
    let update = "WHEN MATCHED THEN UPDATE SET n = s.n";
    let insert = "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, s.n)";
    for (then, parts) in [
        ("WHEN MATCHED THEN UPDATE SET n = 0", ["t_n_check", "n=0"]),
        (
            "WHEN MATCHED THEN UPDATE SET double = 5",
            ["generated", "double"],
        ),
        (
            "WHEN NOT MATCHED THEN INSERT (id, n, double) VALUES (s.id, s.n, 5)",
            ["generated", "double"],
        ),
        (
            "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (1, s.n)",
            ["t_pkey", "id=1"],
        ),
    ] {
        broken(&f, &merge(then), &parts).await;
    }
    f.udr(&merge(&format!("{update} {insert}"))).await;
    assert_eq!(f.udr(all).await, ["1|5|10", "2|12|24", "3|13|26", "9|9|18"]);
    f.check().await;
}

#[tokio::test]
async fn changed_rows_keep_keys_apart() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    f.udr("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
    f.udr("INSERT INTO t VALUES (4, 4)").await;
    broken(&f, "UPDATE t SET id = 1 WHERE id = 2", &["t_pkey", "id=1"]).await;
    broken(&f, "UPDATE t SET id = 7", &["t_pkey", "id=7"]).await;
    // All rows move at once, so that none is in the way of another.
    f.udr("UPDATE t SET id = id + 1").await;
    assert_eq!(
        f.udr("SELECT id FROM t ORDER BY id").await,
        ["2", "3", "4", "5"]
    );
    f.udr("BEGIN").await;
    f.udr("DELETE FROM t WHERE id = 2").await;
    f.udr("INSERT INTO t VALUES (2, 9)").await;
    broken(&f, "INSERT INTO t VALUES (2, 9)", &["t_pkey"]).await;
    f.udr("DELETE FROM t WHERE id = 2").await;
    f.udr("INSERT INTO t VALUES (2, 10)").await;
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT n FROM t WHERE id = 2").await, ["10"]);
    f.check().await;
}

#[tokio::test]
async fn rows_with_children_are_not_deleted() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE p (id INT PRIMARY KEY, n INT)").await;
    f.udr("CREATE TABLE c (id INT, p INT REFERENCES p)").await;
    f.udr("INSERT INTO p VALUES (1, 1), (2, 2), (3, 3), (4, 4)")
        .await;
    f.udr("INSERT INTO c VALUES (1, 1), (2, 2), (3, NULL)")
        .await;
    for sql in [
        "DELETE FROM p WHERE id = 1",
        "DELETE FROM p",
        "TRUNCATE TABLE p",
        "UPDATE p SET id = 10 WHERE id = 2",
        "UPDATE c SET p = 9 WHERE id = 2",
        "MERGE INTO p USING (VALUES (1)) AS s (id) ON p.id = s.id WHEN MATCHED THEN DELETE",
    ] {
        broken(&f, sql, &["c_p_fkey"]).await;
    }
    f.udr("DELETE FROM p WHERE id = 3").await;
    f.udr("UPDATE p SET n = 0").await;
    f.udr("UPDATE p SET id = 30 WHERE id = 4").await;
    f.udr("BEGIN").await;
    f.udr("DELETE FROM p WHERE id = 1").await;
    f.udr("DELETE FROM c WHERE p = 1").await;
    f.udr("COMMIT").await;
    f.udr("BEGIN").await;
    f.udr("UPDATE p SET id = 20 WHERE id = 2").await;
    f.udr("UPDATE c SET p = 20 WHERE p = 2").await;
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT p FROM c ORDER BY id").await, ["20", ""]);
    f.check().await;
}

#[tokio::test]
async fn a_child_and_the_deletion_of_its_parent_do_not_both_commit() {
    for child_first in [true, false] {
        let (a, b) = two("CREATE TABLE p (id INT PRIMARY KEY)").await;
        a.udr("CREATE TABLE c (p INT REFERENCES p)").await;
        a.udr("INSERT INTO p SELECT value FROM generate_series(1, 20)")
            .await;
        a.udr("BEGIN").await;
        b.udr("BEGIN").await;
        a.udr("INSERT INTO c VALUES (7)").await;
        b.udr("DELETE FROM p WHERE id = 7").await;
        let (first, second) = if child_first { (&a, &b) } else { (&b, &a) };
        first.udr("COMMIT").await;
        let (kind, text) = second.udr_refused("COMMIT").await;
        assert_eq!(kind, ErrorKind::Conflict, "{text}");
        assert!(text.contains("c_p_fkey") && text.contains("p=7"), "{text}");
        // What has nothing to do with each other commits.
        first.udr("BEGIN").await;
        second.udr("BEGIN").await;
        first.udr("INSERT INTO c VALUES (8)").await;
        second.udr("DELETE FROM p WHERE id = 9").await;
        first.udr("COMMIT").await;
        second.udr("COMMIT").await;
        a.check().await;
    }
}

#[tokio::test]
async fn an_update_and_an_insert_of_one_key_do_not_both_commit() {
    for update_first in [true, false] {
        let (a, b) = two("CREATE TABLE t (id INT PRIMARY KEY)").await;
        a.udr("INSERT INTO t SELECT value FROM generate_series(1, 20)")
            .await;
        a.udr("BEGIN").await;
        b.udr("BEGIN").await;
        a.udr("UPDATE t SET id = 100 WHERE id = 1").await;
        b.udr("INSERT INTO t VALUES (100)").await;
        let (first, second) = if update_first { (&a, &b) } else { (&b, &a) };
        first.udr("COMMIT").await;
        let (kind, text) = second.udr_refused("COMMIT").await;
        assert_eq!(kind, ErrorKind::Conflict, "{text}");
        assert!(text.contains("t_pkey") && text.contains("id=100"), "{text}");
        a.check().await;
    }
}

#[tokio::test]
async fn rows_that_are_deleted_need_not_obey() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT, n INT)").await;
    f.udr("INSERT INTO t SELECT value, value + 0 FROM generate_series(1, 10)")
        .await;
    f.udr("INSERT INTO t VALUES (NULL, 1), (1, -1), (50, 2), (51, 2)")
        .await;
    f.udr("DELETE FROM t WHERE id IS NULL OR n < 0").await;
    f.udr("ALTER TABLE t ADD PRIMARY KEY (id), ADD CHECK (n > 0)")
        .await;
    assert_eq!(f.udr("SELECT count(*), count(id) FROM t").await, ["12|12"]);
    assert_eq!(
        f.udr("SELECT id FROM t WHERE id > 49 ORDER BY id").await,
        ["50", "51"]
    );
    f.udr("UPDATE t SET n = n + 1 WHERE id = 50").await;
    // The file is written anew without what is deleted.
    f.udr("DELETE FROM t WHERE id = 51").await;
    f.udr("UPDATE t SET n = n + 1").await;
    assert_eq!(f.udr("SELECT min(id), max(n) FROM t").await, ["1|11"]);
    f.check().await;
}

#[tokio::test]
async fn a_foreign_key_is_checked_at_commit_so_both_sides_can_come_together() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE p (id INT PRIMARY KEY)").await;
    f.udr("CREATE TABLE c (p INT REFERENCES p (id))").await;
    let leads = "a row's foreign key leads to no row";
    broken(
        &f,
        "INSERT INTO c VALUES (1)",
        &[leads, "c_p_fkey", "public.c", "public.p", "p=1"],
    )
    .await;
    f.udr("INSERT INTO c VALUES (NULL)").await;
    f.udr("BEGIN").await;
    f.udr("INSERT INTO c VALUES (1), (1)").await;
    f.udr("INSERT INTO p VALUES (1), (2)").await;
    f.udr("COMMIT").await;
    f.udr("INSERT INTO c VALUES (2)").await;
    // The parent of a child cannot go; one without children can.
    broken(&f, "INSERT OVERWRITE p VALUES (2)", &[leads, "p=1"]).await;
    f.udr("INSERT OVERWRITE p VALUES (1), (2), (3)").await;
    f.udr("INSERT OVERWRITE p VALUES (2), (1)").await;
    f.udr("BEGIN").await;
    f.udr("INSERT OVERWRITE p VALUES (9)").await;
    broken(&f, "COMMIT", &[leads]).await;
    f.udr("BEGIN").await;
    f.udr("INSERT OVERWRITE p VALUES (9)").await;
    f.udr("INSERT OVERWRITE c VALUES (9)").await;
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT * FROM c").await, ["9"]);
    f.check().await;
}

#[tokio::test]
async fn a_table_can_lead_to_itself() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY, boss INT REFERENCES t)")
        .await;
    f.udr("INSERT INTO t VALUES (1, NULL), (2, 1), (3, 3)")
        .await;
    broken(
        &f,
        "INSERT INTO t VALUES (4, 5)",
        &["t_boss_fkey", "boss=5"],
    )
    .await;
    broken(&f, "INSERT OVERWRITE t VALUES (2, 1)", &["boss=1"]).await;
    f.udr("DROP TABLE t").await;
    f.check().await;
}

#[tokio::test]
async fn what_a_foreign_key_needs_is_not_dropped() {
    let f = Fixture::new().await;
    f.udr("CREATE SCHEMA s").await;
    f.udr("CREATE TABLE s.a (id INT PRIMARY KEY, code INT UNIQUE)")
        .await;
    f.udr("CREATE TABLE s.b (a INT REFERENCES s.a, CONSTRAINT to_code FOREIGN KEY (a) REFERENCES s.a (code))")
        .await;
    let (kind, text) = f.udr_refused("DROP TABLE s.a").await;
    assert_eq!(kind, ErrorKind::Invalid, "{text}");
    f.udr_refused("CREATE OR REPLACE TABLE s.a (id INT)").await;
    broken(
        &f,
        "ALTER TABLE s.a DROP CONSTRAINT a_pkey",
        &["b_a_fkey", "s.b"],
    )
    .await;
    broken(
        &f,
        "ALTER TABLE s.a DROP CONSTRAINT a_code_key",
        &["to_code"],
    )
    .await;
    f.udr("ALTER TABLE s.a RENAME TO s.z").await;
    f.udr("INSERT INTO s.z VALUES (1, 1)").await;
    f.udr("INSERT INTO s.b VALUES (1)").await;
    broken(&f, "INSERT INTO s.b VALUES (2)", &["s.z"]).await;
    f.udr("ALTER TABLE s.b DROP CONSTRAINT to_code, DROP CONSTRAINT IF EXISTS nothing")
        .await;
    f.udr("ALTER TABLE s.z DROP CONSTRAINT a_code_key").await;
    f.udr("DROP SCHEMA s CASCADE").await;
    f.check().await;
}

#[tokio::test]
async fn a_foreign_key_leads_to_a_key_of_the_same_types() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE p (id INT PRIMARY KEY, code TEXT, UNIQUE (code, id))")
        .await;
    f.udr("CREATE TABLE plain (id INT)").await;
    for (columns, kind) in [
        ("p BIGINT REFERENCES p", ErrorKind::Invalid),
        ("p TEXT REFERENCES p (code)", ErrorKind::Invalid),
        ("p INT REFERENCES plain", ErrorKind::Invalid),
        ("p INT REFERENCES plain (id)", ErrorKind::Invalid),
        ("p INT REFERENCES missing", ErrorKind::NotFound),
        ("p INT REFERENCES p (ix)", ErrorKind::NotFound),
        ("p INT, FOREIGN KEY (q) REFERENCES p", ErrorKind::NotFound),
        (
            "p INT, FOREIGN KEY (p) REFERENCES p (id, code)",
            ErrorKind::Invalid,
        ),
        (
            "p INT REFERENCES p ON DELETE CASCADE",
            ErrorKind::Unsupported,
        ),
        (
            "p INT REFERENCES p ON UPDATE SET NULL",
            ErrorKind::Unsupported,
        ),
        ("p INT REFERENCES p NOT ENFORCED", ErrorKind::Unsupported),
        ("p INT PRIMARY KEY, q INT PRIMARY KEY", ErrorKind::Invalid),
        ("p DOUBLE UNIQUE", ErrorKind::Invalid),
        ("p INT[] UNIQUE", ErrorKind::Invalid),
        ("p INT, UNIQUE (p, p)", ErrorKind::Invalid),
        (
            "p INT, UNIQUE NULLS NOT DISTINCT (p)",
            ErrorKind::Unsupported,
        ),
        ("p INT CHECK (p > 0) NOT ENFORCED", ErrorKind::Unsupported),
        (
            "p INT GENERATED ALWAYS AS (1) VIRTUAL",
            ErrorKind::Unsupported,
        ),
        (
            "p INT, CONSTRAINT x UNIQUE (p), CONSTRAINT x CHECK (p > 0)",
            ErrorKind::AlreadyExists,
        ),
    ] {
        let (found, text) = f.udr_refused(&format!("CREATE TABLE c ({columns})")).await;
        assert_eq!(found, kind, "{columns}: {text}");
    }
    f.udr("CREATE TABLE c (p INT, q TEXT, FOREIGN KEY (p, q) REFERENCES p (id, code) ON DELETE NO ACTION)")
        .await;
    f.check().await;
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table is altered step by step")]
async fn alter_table_checks_the_rows_that_are_there() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE p (id INT PRIMARY KEY)").await;
    f.udr("CREATE TABLE t (id INT, n INT, p INT)").await;
    f.udr("INSERT INTO t VALUES (1, 1, 7), (1, NULL, NULL)")
        .await;
    let version = f.version().await;
    broken(
        &f,
        "ALTER TABLE t ADD PRIMARY KEY (id)",
        &["t_pkey", "id=1"],
    )
    .await;
    broken(&f, "ALTER TABLE t ADD UNIQUE (id)", &["t_id_key"]).await;
    broken(
        &f,
        "ALTER TABLE t ADD CONSTRAINT big CHECK (n > 1)",
        &["big", "n=1"],
    )
    .await;
    broken(
        &f,
        "ALTER TABLE t ALTER COLUMN n SET NOT NULL",
        &["column=`n`", "id=1, n=NULL"],
    )
    .await;
    broken(&f, "ALTER TABLE t ADD PRIMARY KEY (n)", &["column=`n`"]).await;
    broken(
        &f,
        "ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (p) REFERENCES p",
        &["fk", "p=7"],
    )
    .await;
    assert_eq!(f.version().await, version);
    assert_eq!(constraints(&f, "t").await, [""; 0]);

    f.udr("INSERT INTO p VALUES (7)").await;
    f.udr("INSERT OVERWRITE t VALUES (1, 1, 7), (2, 5, NULL)")
        .await;
    f.udr("ALTER TABLE t ADD PRIMARY KEY (id), ADD CONSTRAINT small CHECK (n < 10)")
        .await;
    f.udr("ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (p) REFERENCES p")
        .await;
    f.udr("ALTER TABLE t ALTER COLUMN n SET NOT NULL, ALTER COLUMN n SET DEFAULT 3")
        .await;
    f.udr("INSERT INTO t (id) VALUES (3)").await;
    assert_eq!(
        f.udr("SELECT * FROM t ORDER BY id").await,
        ["1|1|7", "2|5|", "3|3|"]
    );
    broken(&f, "INSERT INTO t VALUES (4, NULL, NULL)", &["column=`n`"]).await;
    broken(&f, "INSERT INTO t VALUES (4, 11, NULL)", &["small"]).await;
    broken(&f, "INSERT INTO t VALUES (3, 1, NULL)", &["t_pkey"]).await;
    broken(&f, "INSERT INTO t VALUES (4, 1, 8)", &["fk"]).await;
    broken(
        &f,
        "ALTER TABLE t ALTER COLUMN id DROP NOT NULL",
        &["t_pkey"],
    )
    .await;
    f.udr("ALTER TABLE t DROP CONSTRAINT t_pkey, DROP CONSTRAINT small, DROP CONSTRAINT fk")
        .await;
    f.udr("ALTER TABLE t ALTER COLUMN n DROP NOT NULL, ALTER COLUMN n DROP DEFAULT")
        .await;
    f.udr("INSERT INTO t (id) VALUES (3)").await;
    assert_eq!(constraints(&f, "t").await, ["|NOT NULL|id|NOT NULL"]);
    assert_eq!(
        f.udr_refused("ALTER TABLE t DROP CONSTRAINT small").await.0,
        ErrorKind::NotFound
    );
    assert!(
        f.udr("ALTER TABLE t DROP CONSTRAINT IF EXISTS small").await[0].starts_with("unchanged")
    );
    f.check().await;
}

#[tokio::test]
async fn a_constraint_added_in_a_transaction_is_checked_by_the_statement() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT)").await;
    f.udr("BEGIN").await;
    f.udr("INSERT INTO t VALUES (1), (1), (NULL)").await;
    broken(&f, "ALTER TABLE t ADD UNIQUE (id)", &["t_id_key"]).await;
    broken(
        &f,
        "ALTER TABLE t ALTER COLUMN id SET NOT NULL",
        &["id=NULL"],
    )
    .await;
    f.udr("INSERT OVERWRITE t SELECT DISTINCT id FROM t WHERE id > 0")
        .await;
    f.udr("ALTER TABLE t ADD PRIMARY KEY (id)").await;
    broken(&f, "INSERT INTO t VALUES (1)", &["t_pkey"]).await;
    f.udr("COMMIT").await;
    broken(&f, "INSERT INTO t VALUES (1)", &["t_pkey"]).await;
    f.check().await;
}

#[tokio::test]
async fn of_two_sessions_that_insert_one_key_one_wins() {
    let (a, b) = two("CREATE TABLE t (id INT PRIMARY KEY)").await;
    a.udr("BEGIN").await;
    b.udr("BEGIN").await;
    a.udr("INSERT INTO t VALUES (1), (2)").await;
    b.udr("INSERT INTO t VALUES (2), (3)").await;
    a.udr("COMMIT").await;
    let (kind, text) = b.udr_refused("COMMIT").await;
    assert_eq!(kind, ErrorKind::Conflict, "{text}");
    assert!(text.contains("t_pkey") && text.contains("id=2"), "{text}");
    b.udr("BEGIN").await;
    b.udr("INSERT INTO t VALUES (3)").await;
    a.udr("INSERT INTO t VALUES (4)").await;
    b.udr("COMMIT").await;
    assert_eq!(
        a.udr("SELECT id FROM t ORDER BY id").await,
        ["1", "2", "3", "4"]
    );
    a.check().await;
}

#[tokio::test]
async fn a_child_and_the_end_of_its_parent_do_not_both_commit() {
    for child_first in [true, false] {
        let (a, b) = two("CREATE TABLE p (id INT PRIMARY KEY)").await;
        a.udr("CREATE TABLE c (p INT REFERENCES p)").await;
        a.udr("INSERT INTO p VALUES (1), (2)").await;
        a.udr("BEGIN").await;
        b.udr("BEGIN").await;
        a.udr("INSERT INTO c VALUES (1)").await;
        b.udr("INSERT OVERWRITE p VALUES (2)").await;
        let (first, second) = if child_first { (&a, &b) } else { (&b, &a) };
        first.udr("COMMIT").await;
        let (kind, text) = second.udr_refused("COMMIT").await;
        assert_eq!(kind, ErrorKind::Conflict, "{text}");
        assert!(text.contains("c_p_fkey") && text.contains("p=1"), "{text}");
        let orphans = "SELECT p FROM c WHERE p NOT IN (SELECT id FROM p)";
        assert_eq!(a.udr(orphans).await, [""; 0]);
        a.check().await;
    }
}

#[tokio::test]
async fn a_constraint_and_rows_that_nobody_checked_do_not_both_commit() {
    for constrain_first in [true, false] {
        let (a, b) = two("CREATE TABLE t (id INT)").await;
        a.udr("BEGIN").await;
        b.udr("BEGIN").await;
        a.udr("ALTER TABLE t ADD CHECK (id > 0)").await;
        b.udr("INSERT INTO t VALUES (-1)").await;
        let (first, second) = if constrain_first { (&a, &b) } else { (&b, &a) };
        first.udr("COMMIT").await;
        assert_eq!(second.udr_refused("COMMIT").await.0, ErrorKind::Conflict);
        a.check().await;
    }
}

#[tokio::test]
async fn a_foreign_key_and_the_end_of_what_it_needs_do_not_both_commit() {
    for ending in ["DROP TABLE p", "ALTER TABLE p DROP CONSTRAINT p_pkey"] {
        for key_first in [true, false] {
            let (a, b) = two("CREATE TABLE p (id INT PRIMARY KEY)").await;
            a.udr("CREATE TABLE c (p INT)").await;
            a.udr("BEGIN").await;
            b.udr("BEGIN").await;
            a.udr("ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p")
                .await;
            b.udr(ending).await;
            let (first, second) = if key_first { (&a, &b) } else { (&b, &a) };
            first.udr("COMMIT").await;
            let (kind, text) = second.udr_refused("COMMIT").await;
            assert_eq!(kind, ErrorKind::Conflict, "{ending}: {text}");
            a.check().await;
        }
    }
}

#[tokio::test]
async fn branches_keep_the_constraints_they_came_with() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY, n INT CHECK (n > 0))")
        .await;
    f.udr("INSERT INTO t VALUES (1, 1)").await;
    f.udr("CREATE TAG v1").await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("USE BRANCH dev").await;
    broken(&f, "INSERT INTO t VALUES (1, 2)", &["t_pkey"]).await;
    broken(&f, "INSERT INTO t VALUES (2, 0)", &["t_n_check"]).await;
    f.udr("INSERT INTO t VALUES (2, 2)").await;
    f.udr("MERGE BRANCH dev INTO main").await;
    f.udr("USE BRANCH main").await;
    broken(&f, "INSERT INTO t VALUES (2, 3)", &["t_pkey"]).await;
    f.udr("ALTER TABLE t DROP CONSTRAINT t_pkey").await;
    f.udr("INSERT INTO t VALUES (2, 3)").await;
    assert_eq!(
        f.udr("SELECT count(*) FROM \"t$constraints@v1\" WHERE kind = 'PRIMARY KEY'")
            .await,
        ["1"]
    );
    f.check().await;
}

#[tokio::test]
async fn the_optimizer_knows_keys_while_they_hold() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    f.udr("INSERT INTO t VALUES (1, 5), (2, 5)").await;
    // Columns that depend on the key need no aggregate.
    let grouped = "SELECT id, n FROM t GROUP BY id ORDER BY id";
    assert_eq!(f.udr(grouped).await, ["1|5", "2|5"]);
    f.udr("CREATE TAG v1").await;
    f.udr_fails("SELECT id, n FROM \"t@v1\" GROUP BY id").await;
    f.udr(&format!("PREPARE q AS {grouped}")).await;
    f.udr("ALTER TABLE t DROP CONSTRAINT t_pkey").await;
    f.udr("INSERT INTO t VALUES (1, 6)").await;
    f.udr_fails(grouped).await;
    assert_eq!(f.udr_refused("EXECUTE q").await.0, ErrorKind::Conflict);
}

#[tokio::test]
async fn files_without_a_key_are_not_read_for_it() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT PRIMARY KEY, code TEXT UNIQUE)")
        .await;
    for i in 0..6 {
        f.udr(&format!(
            "INSERT INTO t SELECT value * 7 + {i}, concat('c', value * 7 + {i}) \
             FROM generate_series(0, 199)"
        ))
        .await;
    }
    broken(&f, "INSERT INTO t SELECT 1001, 'fresh'", &["id=1001"]).await;
    broken(&f, "INSERT INTO t SELECT 100000, 'c1001'", &["code=c1001"]).await;
    f.udr("INSERT INTO t SELECT value, concat('d', value) FROM generate_series(5000, 9000)")
        .await;
    broken(
        &f,
        "INSERT INTO t SELECT value, concat('e', value) FROM generate_series(9000, 12000)",
        &["id=9000"],
    )
    .await;
    f.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_sessions_that_insert_one_key_at_once_one_wins() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY, who INT)").await;
    for round in 0..4 {
        let mut sessions = Vec::new();
        for who in 0..6 {
            let session = f.other().await;
            sessions.push(tokio::spawn(async move {
                let sql = format!("INSERT INTO t VALUES ({round}, {who}), (-{who} - 1, {round})");
                session.try_udr(&sql).await.map(|_| who)
            }));
        }
        let mut won = Vec::new();
        for session in sessions {
            match session.await.unwrap() {
                Ok(who) => won.push(who),
                Err(error) => {
                    let error = udr_error(&error).unwrap();
                    let kinds = [ErrorKind::Conflict, ErrorKind::Invalid];
                    assert!(kinds.contains(&error.kind()), "{error:?}");
                    assert!(error.to_string().contains("t_pkey"), "{error}");
                }
            }
        }
        assert_eq!(won.len(), 1, "{won:?}");
        f.udr("DELETE FROM t WHERE id < 0").await;
    }
    assert_eq!(
        f.udr("SELECT count(*), count(DISTINCT id) FROM t").await,
        ["4|4"]
    );
    f.check().await;
}

#[tokio::test]
async fn files_that_were_not_written_here_are_checked_when_they_are_staged() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT, n INT CHECK (n > 0), m INT GENERATED ALWAYS AS (n + 1))")
        .await;
    for (n, m, part) in [(0, 1, "t_n_check"), (1, 1, "generated"), (1, 2, "")] {
        for open in [true, false] {
            if open {
                f.udr("BEGIN").await;
            }
            let outcome = Box::pin(foreign_append(&f, [1, n, m])).await;
            if open {
                f.udr("ROLLBACK").await;
            }
            match outcome {
                Ok(()) => assert_eq!(part, "", "{n}, {m} were accepted"),
                Err(error) => assert!(
                    !part.is_empty() && error.to_string().contains(part),
                    "{n}, {m}: {error}"
                ),
            }
        }
    }
    assert_eq!(f.udr("SELECT * FROM t").await, ["1|1|2"]);
    f.check().await;
}

/// Appends one row to `t` without the engine.
#[expect(clippy::large_futures, reason = "a test awaits it once")]
async fn foreign_append(f: &Fixture, row: [i32; 3]) -> udr_core::Result<()> {
    let session = &f.session;
    session
        .write(async move |transaction| {
            let table = transaction.snapshot().table(&path("t")).await?;
            let repository = session.repository();
            let mut writer = TableWriter::new(
                repository.store(),
                repository.env(),
                table.id(),
                transaction.epoch(),
                table.schema(),
                WriteOptions::default(),
            )?;
            let columns = row.map(|value| Arc::new(Int32Array::from(vec![value])) as ArrayRef);
            let batch = RecordBatch::try_new(table.arrow_schema(), columns.to_vec()).unwrap();
            writer.write(&batch).await?;
            let files = writer.finish().await?;
            transaction.append(&path("t"), files).await
        })
        .await
}

#[tokio::test]
async fn keys_are_compared_within_the_memory_limit() {
    let env = Env::seeded(7, 1_767_225_600_000_000);
    let repository = Repository::create(Store::memory(), env).await.unwrap();
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(24 << 20)))
        .build_arc()
        .unwrap();
    let config = SessionConfig::new().with_target_partitions(2);
    let ctx = SessionContext::new_with_config_rt(config, runtime);
    let session = install(&ctx, InstallOptions::new(repository))
        .await
        .unwrap();
    let f = Fixture { ctx, session };
    f.udr("CREATE TABLE t (id TEXT PRIMARY KEY)").await;
    let insert = |first: i64, last: i64| {
        format!(
            "INSERT INTO t SELECT concat('a rather long key, so that it takes memory: ', value) \
             FROM generate_series({first}, {last})"
        )
    };
    f.udr(&insert(1, 150_000)).await;
    f.udr(&insert(150_001, 300_000)).await;
    broken(&f, &insert(300_000, 450_000), &["t_pkey", "memory: 300000"]).await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["300000"]);
}

#[tokio::test]
async fn bloom_filters_leave_out_row_groups_without_a_key() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)")
        .await;
    f.udr("INSERT INTO t SELECT value * 2, value * 2 + 1 FROM generate_series(1, 5000)")
        .await;
    let pruned = async |sql: &str| {
        let plan = f.udr(&format!("EXPLAIN ANALYZE {sql}")).await.join("\n");
        let (_, rest) = plan.split_once("row_groups_pruned_bloom_filter=").unwrap();
        rest.split(',').next().unwrap().to_owned()
    };
    let there = pruned("SELECT * FROM t WHERE id = 500").await;
    let absent = pruned("SELECT * FROM t WHERE id = 501").await;
    assert!(there.contains("1 matched"), "{there}");
    assert!(absent.contains("0 matched"), "{absent}");
}

/// Two sessions on a repository in which a statement was run.
async fn two(sql: &str) -> (Fixture, Fixture) {
    let a = Fixture::new().await;
    a.udr(sql).await;
    let b = a.other().await;
    (a, b)
}
