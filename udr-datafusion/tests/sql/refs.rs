//! Branches and tags.

use udr_core::ErrorKind;

use crate::fixture::Fixture;
use crate::sql::columns;

#[tokio::test]
async fn a_branch_is_made_used_merged_and_dropped() {
    let f = Fixture::with_table().await;
    let made = f.try_udr("CREATE BRANCH dev").await.unwrap();
    assert_eq!(columns(&made), ["name", "version", "commit_id"]);
    assert_eq!(f.udr("USE BRANCH dev").await, ["on branch dev"]);
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    f.udr("USE BRANCH main").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["0"]);
    let before = f.version().await;
    let dry = f.udr("MERGE BRANCH dev INTO main DRY RUN").await;
    assert!(
        dry[0].starts_with("can be merged|") && dry[0].ends_with("|2"),
        "{dry:?}"
    );
    assert_eq!(f.version().await, before);
    let merged = f.udr("MERGE BRANCH dev").await;
    assert!(
        merged[0].starts_with(&format!("merged|{}|", before + 1)),
        "{merged:?}"
    );
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["2"]);
    assert!(f.udr("MERGE BRANCH dev INTO main").await[0].starts_with("up to date|"));
    assert_eq!(f.udr("DROP BRANCH dev").await, ["branch dev dropped"]);
    assert_eq!(f.udr_refused("USE BRANCH dev").await.0, ErrorKind::NotFound);
    assert_eq!(
        f.udr_refused("DROP BRANCH dev").await.0,
        ErrorKind::NotFound
    );
    assert!(f.udr("DROP BRANCH IF EXISTS dev").await[0].starts_with("unchanged"));
    f.check().await;
}

#[tokio::test]
async fn diverged_branches_are_a_conflict_and_stay_as_they_are() {
    let f = Fixture::with_table().await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("USE BRANCH dev").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    for sql in [
        "MERGE BRANCH dev INTO main",
        "MERGE BRANCH main",
        "MERGE BRANCH main DRY RUN",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Conflict, "{sql}");
    }
    assert_eq!(f.udr("SELECT id FROM t").await, ["2"]);
    assert_eq!(f.udr("SELECT id FROM \"t@main\"").await, ["1"]);
    f.check().await;
}

#[tokio::test]
async fn refs_are_made_from_any_revision() {
    let f = Fixture::with_table().await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    f.udr("CREATE TAG v1.0 FROM main~1").await;
    f.udr("CREATE BRANCH feature/x FROM TAG v1.0").await;
    f.udr("CREATE BRANCH 'old' AS OF 1").await;
    assert_eq!(f.udr("SELECT count(*) FROM \"t@v1.0\"").await, ["1"]);
    assert_eq!(f.udr("SELECT count(*) FROM \"t@feature/x\"").await, ["1"]);
    assert_eq!(f.udr("SELECT count(*) FROM old.public.t").await, ["0"]);
    let (kind, _) = f.udr_refused("CREATE TAG v1.0").await;
    assert_eq!(kind, ErrorKind::AlreadyExists);
    let kept = f.udr("CREATE TAG IF NOT EXISTS v1.0 FROM main").await;
    assert!(kept[0].starts_with("v1.0|"), "{kept:?}");
    assert_eq!(
        f.udr("SELECT count(*) FROM t AT (TAG => 'v1.0')").await,
        ["1"]
    );
    f.udr("DROP TAG v1.0").await;
    assert_eq!(
        f.udr_refused("SELECT * FROM \"t@v1.0\"").await.0,
        ErrorKind::NotFound
    );
    assert_eq!(
        f.udr_refused("CREATE BRANCH x FROM missing").await.0,
        ErrorKind::NotFound
    );
    f.check().await;
}

#[tokio::test]
async fn hostile_names_are_refused_and_make_nothing() {
    let f = Fixture::with_table().await;
    let before = f.udr("SHOW BRANCHES").await;
    for name in [
        "'../x'",
        "'a b'",
        "\"a\"\"b\"",
        "''",
        "'42'",
        "'x.json'",
        "'a\u{202e}b'",
        "-x",
        "'/'",
    ] {
        for statement in ["CREATE BRANCH", "CREATE TAG", "DROP BRANCH", "USE BRANCH"] {
            let text = f.udr_fails(&format!("{statement} {name}")).await;
            assert!(
                !text.is_empty() && !text.contains('\u{202e}'),
                "{statement} {name}: {text}"
            );
        }
    }
    assert_eq!(f.udr("SHOW BRANCHES").await, before);
    f.check().await;
}

#[tokio::test]
async fn refs_are_no_part_of_a_transaction() {
    let f = Fixture::with_table().await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("BEGIN").await;
    for sql in [
        "CREATE BRANCH x",
        "CREATE TAG x",
        "DROP BRANCH dev",
        "MERGE BRANCH dev",
        "USE BRANCH dev",
        "SET udr.as_of = 'dev'",
        "BEGIN",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Invalid, "{sql}");
    }
    f.udr("ROLLBACK").await;
    assert_eq!(
        f.udr_refused("DROP BRANCH main").await.0,
        ErrorKind::Invalid
    );
    assert_eq!(
        f.udr_refused("MERGE BRANCH main INTO main").await.0,
        ErrorKind::Invalid
    );
    f.udr("USE BRANCH dev").await;
    assert_eq!(f.udr_refused("DROP BRANCH DEV").await.0, ErrorKind::Invalid);
}

#[tokio::test]
async fn head_is_no_name_of_a_branch() {
    let f = Fixture::with_table().await;
    for sql in [
        "CREATE BRANCH head",
        "CREATE TAG HEAD",
        "CREATE BRANCH Head FROM 'main~1'",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Invalid, "{sql}");
    }
}

#[tokio::test]
async fn what_is_said_to_be_a_tag_or_a_branch_is_one() {
    let f = Fixture::with_table().await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("CREATE TAG v1").await;
    f.udr("CREATE TAG only_a_tag").await;
    f.udr("CREATE BRANCH v1").await;
    f.udr("USE BRANCH v1").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    f.udr("USE BRANCH main").await;
    for state in [
        "CREATE BRANCH hotfix FROM",
        "BEGIN READ ONLY AS OF",
        "SHOW TABLES AS OF",
    ] {
        let (kind, text) = f.udr_refused(&format!("{state} TAG v1")).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{state}: {text}");
        let (kind, text) = f.udr_refused(&format!("{state} BRANCH only_a_tag")).await;
        assert_eq!(kind, ErrorKind::NotFound, "{state}: {text}");
        let (kind, text) = f.udr_refused(&format!("{state} TAG main")).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{state}: {text}");
    }
    f.udr("CREATE BRANCH of_branch FROM BRANCH v1").await;
    f.udr("CREATE BRANCH of_tag FROM TAG only_a_tag").await;
    assert_eq!(
        f.udr("SELECT count(*) FROM of_branch.public.t").await,
        ["2"]
    );
    assert_eq!(f.udr("SELECT count(*) FROM of_tag.public.t").await, ["1"]);
}

#[tokio::test]
async fn a_tag_outlives_the_branch_it_was_made_on() {
    let f = Fixture::with_table().await;
    f.udr("CREATE BRANCH rel").await;
    f.udr("USE BRANCH rel").await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    f.udr("CREATE TAG v1").await;
    f.udr("USE BRANCH main").await;
    let look = async || {
        let mut seen = Vec::new();
        for sql in [
            "SELECT count(*) FROM t VERSION AS OF 'v1~1'",
            "SELECT operation FROM \"t$history@v1\"",
            "SELECT rows FROM \"t$snapshots@v1\"",
            "SELECT version, commit_id FROM v1.udr.log",
        ] {
            seen.push(f.udr(sql).await);
        }
        f.udr("SET udr.as_of = 'v1'").await;
        seen.push(f.udr("SHOW LOG").await);
        seen.push(f.udr("DESCRIBE HISTORY t").await);
        f.udr("RESET udr.as_of").await;
        seen
    };
    let before = look().await;
    assert_eq!(before[0], ["1"]);
    assert_eq!(before[2], ["2", "1", "0"]);
    f.udr("MERGE BRANCH rel INTO main").await;
    f.udr("DROP BRANCH rel").await;
    assert_eq!(look().await, before);
    // Another life of the branch is not the one that the tag was made in.
    f.udr("CREATE BRANCH rel FROM 0").await;
    f.udr("USE BRANCH rel").await;
    for table in ["x", "y", "z"] {
        f.udr(&format!("CREATE TABLE {table} (id INT)")).await;
    }
    f.udr("USE BRANCH main").await;
    assert_eq!(look().await, before);
    f.check().await;
}

#[tokio::test]
async fn a_read_only_transaction_changes_no_refs() {
    let f = Fixture::with_table().await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("BEGIN READ ONLY").await;
    for sql in [
        "CREATE BRANCH x",
        "CREATE TAG x",
        "DROP BRANCH dev",
        "MERGE BRANCH dev",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Invalid, "{sql}");
    }
    f.udr("MERGE BRANCH dev DRY RUN").await;
    f.udr("COMMIT").await;
    f.udr("DROP BRANCH dev").await;
}
