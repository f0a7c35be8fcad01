//! The session's own methods: branches, pins, savepoints, and what happens halfway.

use udr_core::ErrorKind;
use udr_core::name::RefName;
use udr_datafusion::session::BeginOptions;

use crate::fixture::{Fixture, id_and_name, path};

#[tokio::test]
async fn a_session_moves_between_branches() {
    let f = Fixture::with_table().await;
    f.create_branch("dev").await;
    let dev = RefName::new("dev").unwrap();
    f.session.use_branch(&dev).await.unwrap();
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.create("only_here", &id_and_name()).await;
    assert_eq!(f.session.branch(), dev);
    assert_eq!(f.session.relations("public"), ["only_here", "t"]);
    f.session.use_branch(&RefName::main()).await.unwrap();
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    assert_eq!(f.session.relations("public"), ["t"]);
    let error = f
        .session
        .use_branch(&RefName::new("dve").unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("dev"), "{error}");
    assert_eq!(f.session.branch(), RefName::main());
    f.check().await;
}

#[tokio::test]
async fn a_pinned_session_reads_one_state_and_does_not_write() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.session
        .set_as_of(Some("HEAD~1".parse().unwrap()))
        .await
        .unwrap();
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    f.other().await.run("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    let (kind, _) = f.refused("INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(kind, ErrorKind::Invalid);
    let error = f.session.begin(BeginOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    f.session.set_as_of(None).await.unwrap();
    assert_eq!(f.value("SELECT count(*) FROM t").await, "2");
}

#[tokio::test]
async fn a_read_only_transaction_can_read_an_older_state() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let as_of = Some("main~1".parse().unwrap());
    let options = BeginOptions {
        read_only: false,
        as_of: as_of.clone(),
        ..BeginOptions::default()
    };
    assert_eq!(
        f.session.begin(options).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    f.session
        .begin(BeginOptions {
            read_only: true,
            as_of,
            ..BeginOptions::default()
        })
        .await
        .unwrap();
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    let status = f.session.status().transaction.unwrap();
    assert!(status.read_only && !status.changed);
    assert!(f.session.commit(None).await.unwrap().is_none());
}

#[tokio::test]
async fn savepoints_undo_a_part() {
    let f = Fixture::with_table().await;
    assert_eq!(
        f.session.savepoint("a").unwrap_err().kind(),
        ErrorKind::Invalid
    );
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.session.savepoint("a").unwrap();
    f.run("INSERT INTO t VALUES (2, 'b')").await;
    f.session.rollback_to("a").unwrap();
    assert_eq!(f.values("SELECT id FROM t").await, ["1"]);
    f.session.release("a").unwrap();
    assert_eq!(
        f.session.rollback_to("a").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let committed = f
        .session
        .commit(Some("kept one".to_owned()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(committed.version.0, f.version().await);
    assert_eq!(
        f.value("SELECT message FROM udr.log LIMIT 1").await,
        "kept one"
    );
    f.check().await;
}

#[tokio::test]
async fn a_second_statement_in_the_middle_of_one_is_refused() {
    let f = Fixture::with_table().await;
    f.run("START TRANSACTION").await;
    let (started, wait) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let slow = f.session.write(async |transaction| {
        transaction.create_table(&path("u"), udr_schema()).await?;
        started.notify_one();
        wait.notified().await;
        Ok(())
    });
    let others = async {
        started.notified().await;
        for sql in [
            "SELECT * FROM t",
            "INSERT INTO t VALUES (1, 'a')",
            "COMMIT",
            "ROLLBACK",
        ] {
            let (kind, text) = f.refused(sql).await;
            assert_eq!(kind, ErrorKind::Invalid, "{sql}");
            assert!(text.contains("another statement"), "{text}");
        }
        wait.notify_one();
    };
    let (slow, ()) = tokio::join!(slow, others);
    slow.unwrap();
    f.run("COMMIT").await;
    assert_eq!(f.value("SELECT count(*) FROM u").await, "0");
    f.check().await;
}

#[tokio::test]
async fn a_statement_that_is_dropped_halfway_leaves_the_transaction_as_it_was() {
    let f = Fixture::with_table().await;
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let stuck = f.session.write(async |transaction| {
        transaction.drop_table(&path("t")).await?;
        std::future::pending::<udr_core::Result<()>>().await
    });
    let limit = std::time::Duration::from_millis(20);
    assert!(tokio::time::timeout(limit, stuck).await.is_err());
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
    f.run("COMMIT").await;
    f.check().await;
}

#[tokio::test]
async fn a_change_can_be_made_from_a_task() {
    let f = Fixture::new().await;
    let session = std::sync::Arc::clone(&f.session);
    let made = tokio::spawn(async move {
        let path = path("u");
        session
            .write(async move |txn| txn.create_table(&path, udr_schema()).await)
            .await
    });
    made.await.unwrap().unwrap();
    assert_eq!(f.value("SELECT count(*) FROM u").await, "0");
}

fn udr_schema() -> udr_core::format::Schema {
    udr_core::format::Schema::from_arrow(&id_and_name()).unwrap()
}
