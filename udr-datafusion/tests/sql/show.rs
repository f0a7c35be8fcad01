//! SHOW and DESCRIBE HISTORY.

use udr_core::ErrorKind;

use crate::fixture::Fixture;
use crate::sql::{columns, lines};

#[tokio::test]
async fn refs_and_tables_are_shown() {
    let f = Fixture::with_table().await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("CREATE TAG v1").await;
    f.udr("CREATE SCHEMA s").await;
    f.udr("CREATE TABLE s.u (id INT)").await;
    f.udr("CREATE VIEW s.v AS SELECT * FROM t").await;
    let branches = f.try_udr("SHOW BRANCHES").await.unwrap();
    assert_eq!(
        columns(&branches),
        ["name", "version", "commit_id", "moved_at", "current"]
    );
    let names = lines(&branches);
    assert!(
        names[0].starts_with("dev|") && names[0].ends_with("|false"),
        "{names:?}"
    );
    assert!(
        names[1].starts_with("main|") && names[1].ends_with("|true"),
        "{names:?}"
    );
    assert!(f.udr("SHOW TAGS").await[0].starts_with("v1|"));
    let all = ["public|t|table", "s|u|table", "s|v|view"];
    assert_eq!(f.udr("SHOW TABLES").await, all);
    assert_eq!(f.udr("SHOW TABLES FROM s").await, all[1..]);
    assert_eq!(f.udr("SHOW TABLES AS OF dev").await, all[..1]);
    assert_eq!(f.udr("SHOW TABLES IN public AS OF 0").await, [""; 0]);
    assert_eq!(
        f.udr_refused("SHOW TABLES FROM missing").await.0,
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn logs_are_shown() {
    let f = Fixture::with_table().await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    let log = f.try_udr("SHOW LOG").await.unwrap();
    assert_eq!(columns(&log)[..2], ["version", "commit_id"]);
    let versions = |rows: Vec<String>| {
        rows.iter()
            .map(|r| r.split('|').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(versions(lines(&log)), ["3", "2", "1", "0"]);
    assert_eq!(versions(f.udr("SHOW LOG LIMIT 2").await), ["3", "2"]);
    assert_eq!(versions(f.udr("SHOW LOG ON dev LIMIT 1").await), ["2"]);
    assert_eq!(versions(f.udr("SHOW LOG LIMIT 0").await), [""; 0]);
    f.udr("SET udr.as_of = 1").await;
    assert_eq!(versions(f.udr("SHOW LOG").await), ["1", "0"]);
    f.udr("RESET udr.as_of").await;
    let reflog = f.udr("SHOW REFLOG").await;
    assert!(
        reflog[0].starts_with("3|commit|") && reflog[3].starts_with("0|create|"),
        "{reflog:?}"
    );
    let reflog = f.udr("SHOW REFLOG ON dev").await;
    assert!(
        reflog[0].starts_with("2|create|") && reflog[0].ends_with("|main at 2"),
        "{reflog:?}"
    );
    let history = f.try_udr("DESCRIBE HISTORY t").await.unwrap();
    assert!(columns(&history).contains(&"rows_added".to_owned()));
    assert_eq!(versions(lines(&history)), ["3", "2", "1"]);
    assert_eq!(
        f.udr("DESCRIBE HISTORY t").await,
        f.udr("SELECT * FROM t$history").await
    );
    assert_eq!(
        versions(f.udr("DESC HISTORY udr.public.t LIMIT 1").await),
        ["3"]
    );
    assert_eq!(
        f.udr_refused("SHOW LOG ON missing").await.0,
        ErrorKind::NotFound
    );
    assert_eq!(
        f.udr_refused("DESCRIBE HISTORY missing").await.0,
        ErrorKind::NotFound
    );
    assert_eq!(
        f.udr_refused("DESCRIBE HISTORY \"t@1\"").await.0,
        ErrorKind::Invalid
    );
}

#[tokio::test]
async fn the_status_says_what_the_session_does() {
    let f = Fixture::with_table().await;
    let status = f.try_udr("SHOW STATUS").await.unwrap();
    assert_eq!(
        columns(&status),
        [
            "branch",
            "version",
            "commit_id",
            "as_of",
            "transaction",
            "base_version",
            "changed",
            "read_only",
        ]
    );
    assert!(
        lines(&status)[0].starts_with("main|1|"),
        "{:?}",
        lines(&status)
    );
    assert!(
        lines(&status)[0].ends_with("||||false|false"),
        "{:?}",
        lines(&status)
    );
    f.udr("BEGIN").await;
    assert!(f.udr("SHOW STATUS").await[0].ends_with("|1|false|false"));
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    assert!(f.udr("SHOW STATUS").await[0].ends_with("|1|true|false"));
    f.udr("ROLLBACK").await;
    f.udr("SET udr.as_of = 'main~1'").await;
    let status = f.udr("SHOW STATUS").await;
    assert!(
        status[0].starts_with("main|0|") && status[0].contains("|main~1|"),
        "{status:?}"
    );
    assert!(status[0].ends_with("|false|true"), "{status:?}");
}

#[tokio::test]
async fn columns_are_shown_of_any_state() {
    let f = Fixture::with_table().await;
    f.create_branch("dev").await;
    f.udr("CREATE VIEW v AS SELECT name FROM t").await;
    f.udr("CREATE OR REPLACE TABLE t (other DOUBLE)").await;
    let columns = f.try_udr("SHOW COLUMNS FROM t").await.unwrap();
    assert_eq!(
        crate::sql::columns(&columns),
        [
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "data_type",
            "is_nullable"
        ]
    );
    assert_eq!(lines(&columns), ["udr|public|t|other|Float64|YES"]);
    for (name, expected) in [
        (
            "\"t@1\"",
            [
                "udr|public|t@1|id|Int64|NO",
                "udr|public|t@1|name|Utf8View|YES",
            ],
        ),
        (
            "dev.public.t",
            ["dev|public|t|id|Int64|NO", "dev|public|t|name|Utf8View|YES"],
        ),
    ] {
        assert_eq!(
            f.udr(&format!("SHOW COLUMNS FROM {name}")).await,
            expected,
            "{name}"
        );
    }
    assert_eq!(f.udr("SHOW COLUMNS FROM t$files").await.len(), 11);
    assert_eq!(
        f.udr("SHOW COLUMNS FROM \"v@2\"").await,
        ["udr|public|v@2|name|Utf8View|YES"]
    );
    let (kind, text) = f.udr_refused("SHOW FULL COLUMNS FROM \"t@1\"").await;
    assert_eq!(kind, ErrorKind::Unsupported, "{text}");
    for name in ["missing", "missing.t", "\"t@99\"", "missing.public.t"] {
        let (kind, _) = f.udr_refused(&format!("SHOW COLUMNS FROM {name}")).await;
        assert_eq!(kind, ErrorKind::NotFound, "{name}");
    }
    assert_eq!(
        f.values("SELECT column_name FROM udr_call('SHOW COLUMNS FROM \"t@1\"')")
            .await,
        ["id", "name"]
    );
}
