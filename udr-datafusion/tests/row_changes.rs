//! A change of rows that was planned without UDR's rules is refused.

use datafusion::catalog::TableProvider;
use udr_core::ErrorKind;
use udr_datafusion::error::udr_error;

use crate::fixture::Fixture;

async fn provider(f: &Fixture) -> std::sync::Arc<dyn TableProvider> {
    f.ctx.table_provider("t").await.unwrap()
}

#[tokio::test]
async fn the_hooks_that_are_told_less_than_the_statement_said_refuse() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let (table, state) = (provider(&f).await, f.ctx.state());
    let refused = [
        table.delete_from(&state, Vec::new()).await.unwrap_err(),
        table
            .update(&state, Vec::new(), Vec::new())
            .await
            .unwrap_err(),
    ];
    for error in refused {
        let error = udr_error(&error).unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
}
