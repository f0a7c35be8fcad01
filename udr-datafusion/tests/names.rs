//! What names in a statement can say, and what is said when nothing has the name.

use udr_core::ErrorKind;
use udr_core::name::{RefName, RelationPath};

use crate::fixture::{Fixture, id_and_name};

#[tokio::test]
async fn a_name_can_say_which_state() {
    let f = Fixture::with_table().await;
    let empty = f.version().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let head = f.session.snapshot().await.unwrap();
    let (id, at) = (head.commit_id().to_hex(), head.commit().committed_at);
    f.run("INSERT INTO t VALUES (2, 'b')").await;
    let tag = RefName::new("v1").unwrap();
    f.session
        .repository()
        .create_tag(&tag, &head)
        .await
        .unwrap();
    let version = empty + 1;
    let time = arrow::temporal_conversions::timestamp_us_to_datetime(at).unwrap();
    for (name, rows) in [
        ("t".to_owned(), "2"),
        ("t@main".to_owned(), "2"),
        ("t@head".to_owned(), "2"),
        (format!("\"t@{version}\""), "1"),
        (format!("t@{empty}"), "0"),
        ("\"t@main~1\"".to_owned(), "1"),
        ("\"t@HEAD~2\"".to_owned(), "0"),
        (format!("\"t@{}\"", &id[..12]), "1"),
        (format!("\"t@{time}\""), "1"),
        ("\"t@v1\"".to_owned(), "1"),
        ("v1.public.t".to_owned(), "1"),
        ("main.public.t".to_owned(), "2"),
        ("udr.public.\"t@v1\"".to_owned(), "1"),
        (format!("main.public.\"t@{empty}\""), "0"),
    ] {
        assert_eq!(
            f.value(&format!("SELECT count(*) FROM {name}")).await,
            rows,
            "{name}"
        );
    }
}

#[tokio::test]
async fn only_the_sessions_own_branch_is_written() {
    let f = Fixture::with_table().await;
    f.create_branch("dev").await;
    for target in [
        "\"t@dev\"",
        "\"t@main\"",
        "dev.public.t",
        "t@1",
        "main.public.t",
    ] {
        let (kind, _) = f
            .refused(&format!("INSERT INTO {target} VALUES (1, 'a')"))
            .await;
        assert_eq!(kind, ErrorKind::Invalid, "{target}");
    }
    assert_eq!(f.value("SELECT count(*) FROM dev.public.t").await, "0");
    f.check().await;
}

#[tokio::test]
async fn a_name_that_is_not_there_says_what_is() {
    let f = Fixture::new().await;
    f.create("flights", &id_and_name()).await;
    f.create_branch("dev").await;
    let dev = f.other().await;
    dev.session
        .use_branch(&RefName::new("dev").unwrap())
        .await
        .unwrap();
    dev.create("elsewhere", &id_and_name()).await;
    for (name, said) in [
        ("flihgts", "did you mean `flights`"),
        ("public.flihgts", "did you mean `flights`"),
        ("elsewhere", "on branch `dev`"),
        ("\"flights@dve\"", "dev"),
        ("dve.public.flights", "did you mean `dev`"),
        ("mian.public.flights", "did you mean `main`"),
        ("dev.publik.flights", "did you mean `public`"),
        ("flights$flies", "did you mean `$files`"),
        ("udr.udr.logs", "did you mean `log`"),
        ("\"flights@999\"", "999"),
    ] {
        let (kind, text) = f.refused(&format!("SELECT * FROM {name}")).await;
        assert_eq!(kind, ErrorKind::NotFound, "{name}: {text}");
        assert!(text.contains(said), "{name}: {text}");
    }
    for name in ["\"flights@\"", "\"flights@main~x\"", "\"../etc\""] {
        let (kind, text) = f.refused(&format!("SELECT * FROM {name}")).await;
        assert_eq!(kind, ErrorKind::Invalid, "{name}: {text}");
    }
}

#[tokio::test]
async fn schemas_and_tables_are_listed() {
    let f = Fixture::with_table().await;
    f.create_view("v", "SELECT 1 AS one").await;
    f.run("SET datafusion.catalog.information_schema = true")
        .await;
    f.session.refresh_names().await.unwrap();
    let shown = f
        .shown(
            "SELECT table_name, table_type FROM information_schema.tables
             WHERE table_catalog = 'udr' AND table_schema = 'public' ORDER BY table_name",
        )
        .await;
    assert!(shown.contains("| t          | BASE TABLE |"), "{shown}");
    assert!(shown.contains("| v          | VIEW       |"), "{shown}");
    let columns =
        f.values("SELECT column_name FROM information_schema.columns WHERE table_name = 't'");
    assert_eq!(columns.await, ["id", "name"]);
    f.run("DESCRIBE t").await;
    f.run("SHOW TABLES").await;
}

#[tokio::test]
async fn a_schema_that_somebody_else_made_is_found_after_another_look() {
    let f = Fixture::with_table().await;
    let other = f.other().await;
    let schema = udr_core::format::Schema::from_arrow(&id_and_name()).unwrap();
    other
        .session
        .write(async |transaction| {
            transaction.create_namespace(&"late".parse()?).await?;
            let path = RelationPath::parse("late", "t")?;
            transaction.create_table(&path, schema).await
        })
        .await
        .unwrap();
    assert_eq!(other.value("SELECT count(*) FROM late.t").await, "0");
    let mut tries = 0;
    while f.try_run("SELECT count(*) FROM late.t").await.is_err() {
        tries += 1;
        assert!(tries < 100, "the schema is never found");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
