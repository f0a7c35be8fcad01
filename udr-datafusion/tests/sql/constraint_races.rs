//! Constraints and sessions that change tables at once.

use udr_core::ErrorKind;
use udr_datafusion::error::udr_error;

use crate::fixture::Fixture;

/// Two sessions on a repository in which a statement was run.
async fn two(sql: &str) -> (Fixture, Fixture) {
    let a = Fixture::new().await;
    a.udr(sql).await;
    let b = a.other().await;
    (a, b)
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
