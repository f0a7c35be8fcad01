//! One statement run as plain SQL, through `udr_sql`, and prepared: each must do the same.

use arrow::array::AsArray as _;
use arrow::datatypes::UInt64Type;
use udr_datafusion::udr_sql;

use crate::fixture::Fixture;

/// The ways in which a statement comes in.
const WAYS: [Way; 4] = [Way::Plain, Way::Udr, Way::Prepared, Way::InTransaction];

#[derive(Debug, Clone, Copy)]
enum Way {
    Plain,
    Udr,
    Prepared,
    InTransaction,
}

/// A repository on which the statement is run, anew for each way.
pub(crate) struct Case<'a> {
    /// What is there before.
    pub(crate) setup: &'a [&'a str],
    /// What asks for what is there afterwards, one column.
    pub(crate) ask: &'a str,
}

impl Case<'_> {
    async fn ready(&self) -> Fixture {
        let f = Fixture::new().await;
        for sql in self.setup {
            let frame = udr_sql(&f.ctx, sql).await;
            frame
                .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
                .collect()
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
        f
    }

    /// Runs a statement in every way: it says that it changed `count` rows, and `expected` is
    /// what is there then. A statement that changes nothing makes no version.
    #[expect(
        clippy::cognitive_complexity,
        reason = "every way is asked the same questions"
    )]
    pub(crate) async fn changes(&self, sql: &str, count: u64, expected: &[&str]) {
        for way in WAYS {
            let f = self.ready().await;
            let before = f.version().await;
            let batches = run(&f, way, sql).await;
            let counted = batches[0].column(0).as_primitive::<UInt64Type>().value(0);
            let rows = f.values(self.ask).await;
            assert_eq!(rows, expected, "{way:?}: {sql}");
            assert_eq!(counted, count, "{way:?}: {sql}");
            if matches!(way, Way::InTransaction) {
                assert_eq!(f.version().await, before, "{sql}: published before COMMIT");
                f.run("COMMIT").await;
                assert_eq!(f.values(self.ask).await, expected, "{way:?}: {sql}");
            }
            let versions = f.version().await - before;
            assert_eq!(versions, u64::from(count > 0), "{way:?}: {sql}");
            let other = f.other().await;
            assert_eq!(other.values(self.ask).await, expected, "{way:?}: {sql}");
            f.check().await;
        }
    }

    /// Runs a statement in every way: it is refused with all of `texts`, and changes nothing.
    pub(crate) async fn refuses(&self, sql: &str, texts: &[&str]) {
        for way in WAYS {
            let f = self.ready().await;
            let before = (f.version().await, f.values(self.ask).await);
            let error = match try_run(&f, way, sql).await {
                Ok(_) => panic!("{way:?}: {sql} was accepted"),
                Err(error) => error.to_string(),
            };
            for text in texts {
                assert!(error.contains(text), "{way:?}: {sql}: {error}");
            }
            assert_eq!(f.values(self.ask).await, before.1, "{way:?}: {sql}");
            if matches!(way, Way::InTransaction) {
                f.run("COMMIT").await;
            }
            assert_eq!(f.version().await, before.0, "{way:?}: {sql}");
            f.check().await;
        }
    }
}

async fn run(f: &Fixture, way: Way, sql: &str) -> Vec<arrow::record_batch::RecordBatch> {
    match try_run(f, way, sql).await {
        Ok(batches) => batches,
        Err(error) => panic!("{way:?}: {sql}: {error:?}"),
    }
}

async fn try_run(
    f: &Fixture,
    way: Way,
    sql: &str,
) -> datafusion::error::Result<Vec<arrow::record_batch::RecordBatch>> {
    match way {
        Way::Plain => f.try_run(sql).await,
        Way::Udr => udr_sql(&f.ctx, sql).await?.collect().await,
        Way::Prepared => {
            f.try_run(&format!("PREPARE change AS {sql}")).await?;
            f.try_run("EXECUTE change").await
        }
        Way::InTransaction => {
            f.run("START TRANSACTION").await;
            f.try_run(sql).await
        }
    }
}
