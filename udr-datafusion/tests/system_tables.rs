//! What the repository and its tables know of themselves.

use udr_core::ErrorKind;

use crate::fixture::{Fixture, id_and_name};

#[tokio::test]
async fn the_log_has_the_commits_newest_first() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.run("INSERT OVERWRITE t VALUES (2, 'b')").await;
    let log = f.values("SELECT operation FROM udr.log").await;
    assert_eq!(log[..3], ["INSERT OVERWRITE", "INSERT", "CREATE TABLE"]);
    let newest = f.version().await.to_string();
    assert_eq!(f.value("SELECT max(version) FROM udr.log").await, newest);
    assert_eq!(
        f.values("SELECT version FROM udr.log LIMIT 2").await[0],
        newest
    );
    let chained = "SELECT count(*) FROM udr.log a JOIN udr.log b
                   ON a.version = b.version + 1 AND a.parents[1] = b.commit_id";
    assert_eq!(f.value(chained).await, newest);
    assert_eq!(
        f.value("SELECT count(*) FROM udr.log WHERE committed_at > now()")
            .await,
        "0"
    );
}

#[tokio::test]
async fn branches_and_tags_are_listed() {
    let f = Fixture::with_table().await;
    f.create_branch("dev").await;
    let head = f.session.snapshot().await.unwrap();
    f.session
        .repository()
        .create_tag(&"v1".parse().unwrap(), &head)
        .await
        .unwrap();
    assert_eq!(
        f.values("SELECT name FROM udr.branches").await,
        ["dev", "main"]
    );
    assert_eq!(
        f.value("SELECT name FROM udr.branches WHERE current").await,
        "main"
    );
    assert_eq!(f.values("SELECT name FROM udr.udr.tags").await, ["v1"]);
    let same = "SELECT count(DISTINCT commit_id) FROM (SELECT * FROM udr.tags UNION ALL SELECT * FROM udr.branches)";
    assert_eq!(f.value(same).await, "1");
}

#[tokio::test]
async fn a_tables_history_has_what_changed_it() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.run("INSERT INTO u VALUES (1, 'a')").await;
    f.run("INSERT OVERWRITE t VALUES (3, 'c')").await;
    let sql = "SELECT concat_ws(' ', operation, rows_added, rows_removed) FROM t$history";
    assert_eq!(
        f.values(sql).await,
        ["INSERT OVERWRITE 1 2", "INSERT 2 0", "CREATE TABLE 0 0"]
    );
    assert_eq!(
        f.values("SELECT operation FROM t$history LIMIT 1").await,
        ["INSERT OVERWRITE"]
    );
    assert_eq!(
        f.values("SELECT rows FROM t$snapshots").await,
        ["1", "2", "0"]
    );
    let before = f.version().await - 1;
    let sql = format!("SELECT operation FROM \"t$history@{before}\"");
    assert_eq!(f.values(&sql).await, ["INSERT", "CREATE TABLE"]);
}

#[tokio::test]
async fn a_tables_files_add_up_to_its_rows() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.run("INSERT INTO t VALUES (3, NULL)").await;
    assert_eq!(f.value("SELECT sum(rows) FROM t$files").await, "3");
    assert_eq!(f.value("SELECT sum(rows) FROM t$manifests").await, "3");
    assert_eq!(
        f.value("SELECT count(*) FROM t$files WHERE columns LIKE '%\"name\"%'")
            .await,
        "2"
    );
    let deleted = "SELECT rows, deleted_rows, deletion_vector IS NULL FROM t$files ORDER BY rows";
    assert_eq!(f.udr(deleted).await, ["1|0|true", "2|0|true"]);
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (4, 'd')").await;
    assert_eq!(f.value("SELECT sum(rows) FROM t$files").await, "4");
    assert_eq!(
        f.value("SELECT count(*) FROM t$files WHERE added_at IS NULL")
            .await,
        "1"
    );
    f.run("COMMIT").await;
    f.run("DELETE FROM t WHERE id = 2").await;
    let deleted = "SELECT rows, deleted_rows FROM t$files WHERE deletion_vector IS NOT NULL";
    assert_eq!(f.udr(deleted).await, ["2|1"]);
    let sums = "SELECT sum(rows), sum(deleted_rows) FROM";
    assert_eq!(f.udr(&format!("{sums} t$files")).await, ["4|1"]);
    assert_eq!(f.udr(&format!("{sums} t$manifests")).await, ["4|1"]);
}

#[tokio::test]
async fn metadata_tables_are_read_at_the_state_of_the_statement() {
    let f = Fixture::with_table().await;
    f.create_view("v", "SELECT 1 AS one").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let sql = "SELECT (SELECT sum(rows) FROM t$files) = (SELECT count(*) FROM t)";
    assert_eq!(f.value(sql).await, "true");
    assert_eq!(
        f.refused("SELECT * FROM v$files").await.0,
        ErrorKind::Invalid
    );
    assert!(
        f.try_run("INSERT INTO udr.log SELECT * FROM udr.log")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn each_commit_of_a_merge_has_its_own_state() {
    let f = Fixture::with_table().await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("USE BRANCH dev").await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    f.udr("INSERT INTO t VALUES (3, 'c')").await;
    f.udr("USE BRANCH main").await;
    f.udr("MERGE BRANCH dev INTO main").await;
    assert_eq!(
        f.values("SELECT rows FROM t$snapshots").await,
        ["3", "2", "1", "0"]
    );
    // A state inside of the merge knows nothing of what came after it.
    let commits = f.values("SELECT commit_id FROM udr.log").await;
    let inside = "SELECT commit_id FROM \"t$history@main~1\"";
    assert_eq!(f.values(inside).await, commits[1..4]);
    assert_eq!(
        f.values("SELECT rows FROM \"t$snapshots@main~2\"").await,
        ["1", "0"]
    );
    f.udr("CREATE TAG x FROM 'main~1'").await;
    f.udr("INSERT INTO t VALUES (4, 'd')").await;
    for state in ["x", "main~2"] {
        f.udr(&format!("SET udr.as_of = '{state}'")).await;
        let log = f.values("SELECT commit_id FROM udr.log").await;
        assert_eq!(log, commits[1..], "{state}");
        assert_eq!(f.udr("SHOW LOG LIMIT 1").await.len(), 1);
        assert_eq!(f.udr("DESCRIBE HISTORY t").await.len(), 3, "{state}");
        f.udr("RESET udr.as_of").await;
    }
    assert_eq!(
        f.values("SELECT commit_id FROM x.udr.log").await,
        commits[1..]
    );
    f.check().await;
}
