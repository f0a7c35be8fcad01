//! One statement, one state; and a new one each time a plan runs.

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use std::sync::Arc;
use udr_core::ErrorKind;
use udr_core::name::RefName;
use udr_datafusion::error::udr_error;

use crate::fixture::{Fixture, id_and_name, path};

/// The providers of a plan's scans, subqueries included.
fn providers(plan: &LogicalPlan) -> Vec<Arc<dyn TableProvider>> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found.push(source_as_provider(&scan.source).unwrap());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    found
}

async fn count(f: &Fixture, provider: &Arc<dyn TableProvider>) -> usize {
    let state = f.ctx.state();
    let plan = provider.scan(&state, None, &[], None).await.unwrap();
    let batches = collect(plan, f.ctx.task_ctx()).await.unwrap();
    batches.iter().map(|batch| batch.num_rows()).sum()
}

#[tokio::test]
async fn all_tables_of_a_statement_are_read_at_one_state() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    f.create_view("v", "SELECT * FROM u").await;
    let sql = "SELECT (SELECT count(*) FROM u), a.id FROM t a JOIN v b ON a.id = b.id
               WHERE EXISTS (SELECT 1 FROM t@main c WHERE c.id = a.id)";
    let state = f.ctx.state();
    let plan = state.create_logical_plan(sql).await.unwrap();
    let analyzed = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .unwrap();
    let providers = providers(&analyzed);
    assert_eq!(providers.len(), 4);
    assert_eq!(count(&f, &providers[0]).await, 0);
    // The first scan has found the state; whatever others publish now comes too late.
    let other = f.other().await;
    other.run("INSERT INTO t VALUES (1, 'a')").await;
    other.run("INSERT INTO u VALUES (1, 'a')").await;
    for provider in &providers {
        assert_eq!(count(&f, provider).await, 0);
    }
    assert_eq!(f.values(sql).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_half_of_a_transaction() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    let writer = f.other().await;
    let writing = tokio::spawn(async move {
        for i in 0..25 {
            writer.run("START TRANSACTION").await;
            writer
                .run(&format!("INSERT INTO t VALUES ({i}, 'x')"))
                .await;
            writer
                .run(&format!("INSERT INTO u VALUES ({i}, 'x')"))
                .await;
            writer.run("COMMIT").await;
        }
    });
    let mut reads = 0;
    while !writing.is_finished() || reads == 0 {
        let same = "SELECT (SELECT count(*) FROM t) = (SELECT count(*) FROM u)";
        assert_eq!(f.value(same).await, "true");
        reads += 1;
    }
    writing.await.unwrap();
    assert_eq!(f.value("SELECT count(*) FROM u").await, "25");
    f.check().await;
}

#[tokio::test]
async fn a_prepared_statement_sees_later_commits() {
    let f = Fixture::with_table().await;
    f.run("PREPARE q AS SELECT count(*) FROM t WHERE id > $1")
        .await;
    assert_eq!(f.value("EXECUTE q(0)").await, "0");
    f.other()
        .await
        .run("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        .await;
    assert_eq!(f.value("EXECUTE q(0)").await, "2");
    assert_eq!(f.value("EXECUTE q(1)").await, "1");
    f.run("PREPARE w AS INSERT INTO t SELECT id + 10, name FROM t")
        .await;
    f.run("EXECUTE w").await;
    f.run("EXECUTE w").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "8");
}

#[tokio::test]
async fn a_data_frame_sees_later_commits_each_time_it_is_collected() {
    let f = Fixture::with_table().await;
    let frame = f.ctx.table("t").await.unwrap();
    assert_eq!(frame.clone().count().await.unwrap(), 0);
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(frame.clone().count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_table_that_changed_shape_while_planning_is_refused() {
    let f = Fixture::with_table().await;
    let frame = f.ctx.sql("SELECT * FROM t").await.unwrap();
    let other = f.other().await;
    other
        .session
        .write(async |txn| txn.drop_table(&path("t")).await)
        .await
        .unwrap();
    let error = frame.clone().collect().await.unwrap_err();
    assert_eq!(udr_error(&error).unwrap().kind(), ErrorKind::NotFound);
    let wider = arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new(
        "id",
        arrow::datatypes::DataType::Utf8,
        true,
    )]);
    other.create("t", &wider).await;
    let error = frame.collect().await.unwrap_err();
    assert_eq!(udr_error(&error).unwrap().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn every_name_of_a_branch_is_read_from_one_head() {
    let f = Fixture::with_table().await;
    f.create_branch("dev").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let spellings = [
        ("t", 1),
        ("\"t@main\"", 1),
        ("\"t@Main\"", 1),
        ("\"t@HEAD\"", 1),
        ("\"t@head\"", 1),
        ("\"t@main~1\"", 0),
        ("\"t@HEAD~1\"", 0),
        ("main.public.t", 1),
        ("main.public.\"t@HEAD\"", 1),
        ("main.public.\"t@HEAD~1\"", 0),
        ("dev.public.t", 0),
        ("\"t@dev\"", 0),
        ("dev.public.\"t@HEAD\"", 0),
        ("dev.public.\"t@main\"", 1),
    ];
    let sql = spellings
        .map(|(name, _)| format!("SELECT id FROM {name}"))
        .join(" UNION ALL ");
    let sql = format!(
        "{sql} UNION ALL SELECT version FROM udr.log UNION ALL SELECT version FROM udr.branches"
    );
    let state = f.ctx.state();
    let plan = state.create_logical_plan(&sql).await.unwrap();
    let analyzed = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .unwrap();
    let providers = providers(&analyzed);
    assert_eq!(providers.len(), spellings.len() + 2);
    // One scan on each branch has found its head; whatever others publish now comes too late.
    assert_eq!(count(&f, &providers[0]).await, 1);
    assert_eq!(count(&f, &providers[10]).await, 0);
    let other = f.other().await;
    other.run("INSERT INTO t VALUES (2, 'b')").await;
    let dev = RefName::new("dev").unwrap();
    other.session.use_branch(&dev).await.unwrap();
    other.run("INSERT INTO t VALUES (3, 'c')").await;
    for ((name, rows), provider) in spellings.iter().zip(&providers) {
        assert_eq!(count(&f, provider).await, *rows, "{name}");
    }
    assert_eq!(count(&f, &providers[spellings.len()]).await, 3);
    let branches = providers[spellings.len() + 1].scan(&state, None, &[], None);
    let branches = collect(branches.await.unwrap(), f.ctx.task_ctx()).await;
    let shown = crate::sql::lines(&branches.unwrap());
    assert!(
        shown[0].starts_with("dev|1|") && shown[1].starts_with("main|2|"),
        "{shown:?}"
    );
}
