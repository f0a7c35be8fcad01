//! INSERT … ON CONFLICT and its relatives.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

async fn counted() -> Fixture {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE c (k VARCHAR, n BIGINT DEFAULT 1, at DATE)")
        .await;
    f.udr("INSERT INTO c VALUES ('a', 1, '2026-01-01'), ('b', 2, NULL), (NULL, 0, NULL)")
        .await;
    f
}

async fn rows(f: &Fixture) -> Vec<String> {
    f.udr("SELECT k, n FROM c ORDER BY k NULLS LAST, n").await
}

#[tokio::test]
async fn a_row_is_updated_or_inserted() {
    let f = counted().await;
    let before = f.version().await;
    let sql = "INSERT INTO c (k, n, at) VALUES ('a', 10, '2026-02-02'), ('x', 20, NULL)
               ON CONFLICT (k) DO UPDATE SET n = c.n + excluded.n, at = excluded.at";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(f.version().await, before + 1);
    assert_eq!(rows(&f).await, ["a|11", "b|2", "x|20", "|0"]);
    assert_eq!(
        f.udr("SELECT at FROM c WHERE k = 'a'").await,
        ["2026-02-02"]
    );
    let sql = "INSERT INTO c AS old SELECT k, n, at FROM c WHERE k = 'b' ON CONFLICT (k)
               DO UPDATE SET n = old.n * 100 WHERE old.n > 1000";
    assert_eq!(f.udr(sql).await, ["0"]);
    let sql = "INSERT INTO c (k) SELECT 'b' ON CONFLICT (k) DO UPDATE SET n = excluded.n - 1";
    assert_eq!(f.udr(sql).await, ["1"], "the default of n is 1");
    assert_eq!(rows(&f).await, ["a|11", "b|0", "x|20", "|0"]);
    f.check().await;
}

#[tokio::test]
async fn values_are_compared_as_the_column_holds_them() {
    let f = counted().await;
    f.udr("INSERT INTO c VALUES ('7', 1, NULL)").await;
    f.udr("INSERT INTO c VALUES (7, 5, NULL) ON CONFLICT (k) DO UPDATE SET n = excluded.n")
        .await;
    assert_eq!(f.udr("SELECT n FROM c WHERE k = '7'").await, ["5"]);
}

#[tokio::test]
async fn a_key_that_comes_twice_is_refused_or_kept_once() {
    let f = counted().await;
    let before = f.version().await;
    for key in ["new", "a"] {
        let sql = format!(
            "INSERT INTO c (k, n) VALUES ('{key}', 1), ('{key}', 2)
             ON CONFLICT (k) DO UPDATE SET n = excluded.n"
        );
        let (kind, text) = f.udr_refused(&sql).await;
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(
            text.contains("twice") && text.contains(&format!("k={key}")),
            "{text}"
        );
    }
    assert_eq!(f.version().await, before);
    let sql = "INSERT INTO c (k, n) VALUES ('new', 1), ('new', 2), ('a', 3), (NULL, 4), (NULL, 5)
               ON CONFLICT (k) DO NOTHING";
    assert_eq!(
        f.udr(sql).await,
        ["3"],
        "rows without a key have no conflict"
    );
    assert_eq!(rows(&f).await, ["a|1", "b|2", "new|1", "|0", "|4", "|5"]);
    let sql = "INSERT INTO c (k, n) VALUES (NULL, 6), (NULL, 7)
               ON CONFLICT (k) DO UPDATE SET n = 0";
    assert_eq!(f.udr(sql).await, ["2"]);
    f.check().await;
}

#[tokio::test]
async fn the_first_of_a_list_is_kept_however_long_it_is() {
    let f = counted().await;
    let rows = (0..9_000).map(|n| format!("('k{}', {n})", n % 4_500));
    let values = rows.collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT INTO c (k, n) VALUES {values} ON CONFLICT (k) DO NOTHING");
    assert_eq!(f.udr(&sql).await, ["4500"]);
    assert_eq!(f.udr("SELECT max(n) FROM c").await, ["4499"]);
}

#[tokio::test]
async fn a_key_of_two_columns_and_a_transaction() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE \"Two\" (a INT, \"B\" INT, v VARCHAR)")
        .await;
    f.udr("BEGIN").await;
    let sql = "INSERT INTO \"Two\" VALUES (1, 1, 'x'), (1, 2, 'y')
               ON CONFLICT (a, \"B\") DO UPDATE SET v = excluded.v || '!'";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(
        f.udr("SELECT v FROM \"Two\" ORDER BY v").await,
        ["x!", "y!"]
    );
    f.udr("COMMIT").await;
    assert_eq!(
        f.udr("SELECT v FROM \"Two\" ORDER BY v").await,
        ["x!", "y!"]
    );
    f.check().await;
}

#[tokio::test]
async fn a_conflict_without_a_key_is_refused() {
    let f = counted().await;
    let before = f.version().await;
    for sql in [
        "INSERT INTO c (k) VALUES ('a') ON CONFLICT DO NOTHING",
        "INSERT OR IGNORE INTO c (k) VALUES ('a')",
        "INSERT OR REPLACE INTO c (k) VALUES ('a')",
        "REPLACE INTO c (k) VALUES ('a')",
    ] {
        let (kind, text) = f.udr_refused(sql).await;
        assert_eq!(kind, ErrorKind::Invalid, "{sql}");
        assert!(text.contains("has none"), "{text}");
    }
    let (kind, _) = f
        .udr_refused("INSERT INTO c (k) VALUES ('a') ON DUPLICATE KEY UPDATE n = 1")
        .await;
    assert_eq!(kind, ErrorKind::Unsupported);
    let (_, text) = f
        .udr_refused("INSERT INTO c (k) VALUES ('a') ON CONFLICT (k) DO UPDATE SET n = n + 1")
        .await;
    assert!(text.contains("in the target and in the source"), "{text}");
    assert_eq!(f.version().await, before);
}

#[tokio::test]
async fn a_key_of_the_table_tells_a_conflict() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE k (id BIGINT PRIMARY KEY, n INT DEFAULT 3, twice INT GENERATED ALWAYS AS (n * 2) STORED)")
        .await;
    f.udr("INSERT INTO k VALUES (1, 1, DEFAULT)").await;
    assert_eq!(
        f.udr("INSERT INTO k (id) VALUES (1), (2), (2) ON CONFLICT DO NOTHING")
            .await,
        ["1"]
    );
    assert_eq!(
        f.udr("INSERT OR IGNORE INTO k (id) VALUES (2)").await,
        ["0"]
    );
    assert_eq!(
        f.udr("REPLACE INTO k (id, n) VALUES (1, 10), (3, 30)")
            .await,
        ["2"]
    );
    assert_eq!(
        f.udr("SELECT * FROM k ORDER BY id").await,
        ["1|10|20", "2|3|6", "3|30|60"]
    );
    assert_eq!(
        f.udr("INSERT OR REPLACE INTO k (id) VALUES (3)").await,
        ["1"]
    );
    let named = "INSERT INTO k (id, n) VALUES (3, 7) ON CONFLICT ON CONSTRAINT k_pkey
                 DO UPDATE SET n = excluded.n + k.n RETURNING *";
    assert_eq!(
        f.udr(named).await,
        ["3|10|20"],
        "generated columns are those of the new row"
    );
    let inserted = f
        .udr("INSERT INTO k (id, n) VALUES (4, 4) RETURNING twice")
        .await;
    assert_eq!(inserted, ["8"]);
    assert_eq!(
        f.udr("UPDATE k SET n = 5, twice = DEFAULT WHERE id = 4 RETURNING twice")
            .await,
        ["10"]
    );
    assert_eq!(
        f.udr("DELETE FROM k WHERE id = 4 RETURNING twice").await,
        ["10"]
    );
    for sql in [
        "UPDATE k SET twice = 1",
        "INSERT INTO k (id, n) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = excluded.twice",
        "INSERT INTO k REPLACE WHERE twice = 20 SELECT 1, 10",
        "REPLACE INTO k (id, n) VALUES (5, 1), (5, 2)",
    ] {
        f.udr_refused(sql).await;
    }
    let (kind, text) = f.udr_refused("INSERT INTO k (id) VALUES (1)").await;
    assert!(text.contains("k_pkey"), "{kind:?} {text}");
    f.udr("INSERT INTO k (id, n) REPLACE WHERE id = 1 SELECT 1, 99")
        .await;
    assert_eq!(
        f.udr("SELECT n, twice FROM k WHERE id = 1").await,
        ["99|198"]
    );
    f.check().await;
}

#[tokio::test]
async fn of_several_keys_one_must_be_named() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE k (id BIGINT PRIMARY KEY, mail VARCHAR UNIQUE)")
        .await;
    f.udr("INSERT INTO k VALUES (1, 'a'), (2, 'b')").await;
    let (_, text) = f.udr_refused("REPLACE INTO k VALUES (1, 'c')").await;
    assert!(text.contains("several"), "{text}");
    f.udr("INSERT INTO k VALUES (9, 'a') ON CONFLICT (mail) DO UPDATE SET id = excluded.id")
        .await;
    let text = f
        .udr_fails(
            "INSERT INTO k VALUES (2, 'a') ON CONFLICT (id) DO UPDATE SET mail = excluded.mail",
        )
        .await;
    assert!(
        text.contains("mail"),
        "the other key is still checked: {text}"
    );
    assert_eq!(f.udr("SELECT * FROM k ORDER BY id").await, ["2|b", "9|a"]);
    f.check().await;
}
