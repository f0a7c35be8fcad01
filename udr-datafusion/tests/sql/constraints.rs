//! Constraints: what is accepted, what is stored, and that every way of inserting rows obeys them.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

/// Asserts that a statement is refused as `Invalid`, with all of these parts in the message.
pub(crate) async fn broken(f: &Fixture, sql: &str, parts: &[&str]) {
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
