//! DELETE, UPDATE, TRUNCATE and MERGE are refused, and change nothing.

use udr_core::ErrorKind;

use crate::fixture::{Fixture, id_and_name};

#[tokio::test]
async fn row_level_changes_are_refused_and_change_nothing() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.run("INSERT INTO u VALUES (2, 'b')").await;
    let before = f.version().await;
    for sql in [
        "DELETE FROM t WHERE id IN (SELECT id FROM u)",
        "DELETE FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
        "DELETE FROM t WHERE false",
        "DELETE FROM t WHERE NULL",
        "DELETE FROM t LIMIT 1",
        "DELETE FROM t",
        "UPDATE t SET name = 'x'",
        "UPDATE t SET name = (SELECT max(name) FROM u WHERE u.id = t.id) WHERE id = 1",
        "TRUNCATE TABLE t",
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE",
    ] {
        let (kind, text) = f.refused(sql).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{sql}");
        assert!(text.contains("INSERT OVERWRITE"), "{text}");
    }
    f.run("PREPARE d AS DELETE FROM t WHERE id IN (SELECT id FROM u)")
        .await;
    assert_eq!(f.refused("EXECUTE d").await.0, ErrorKind::Unsupported);
    f.run("EXPLAIN DELETE FROM t WHERE id = 1").await;
    assert_eq!(f.version().await, before);
    assert_eq!(f.values("SELECT id FROM t ORDER BY id").await, ["1", "2"]);
    f.check().await;
}
