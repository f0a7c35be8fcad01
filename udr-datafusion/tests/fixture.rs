//! A repository in memory, and sessions on it.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use udr_core::ErrorKind;
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::maintenance::FsckOptions;
use udr_core::name::{RefName, RelationPath};
use udr_core::store::Store;
use udr_core::txn::OnExisting;
use udr_datafusion::error::udr_error;
use udr_datafusion::{InstallOptions, UdrSession, install};

/// One session on a repository.
pub(crate) struct Fixture {
    pub(crate) ctx: SessionContext,
    pub(crate) session: Arc<UdrSession>,
}

impl Fixture {
    /// A session on a new repository.
    pub(crate) async fn new() -> Self {
        let env = Env::seeded(7, 1_767_225_600_000_000);
        let repository = Repository::create(Store::memory(), env).await.unwrap();
        Self::with(InstallOptions::new(repository), SessionConfig::new()).await
    }

    /// A session on a new repository that has `CREATE TABLE t (id BIGINT NOT NULL, name TEXT)`.
    pub(crate) async fn with_table() -> Self {
        let fixture = Self::new().await;
        fixture.create("t", &id_and_name()).await;
        fixture
    }

    /// Another session on the same repository.
    pub(crate) async fn other(&self) -> Self {
        let options = InstallOptions::new(self.session.repository().clone());
        Self::with(options, SessionConfig::new()).await
    }

    /// A session with a configuration.
    pub(crate) async fn with(options: InstallOptions, config: SessionConfig) -> Self {
        let ctx = SessionContext::new_with_config(config.with_target_partitions(4));
        let session = install(&ctx, options).await.unwrap();
        Self { ctx, session }
    }

    /// Another session on the same repository that parses this dialect.
    pub(crate) async fn with_dialect(&self, dialect: &str) -> Self {
        let options = InstallOptions::new(self.session.repository().clone());
        let config = SessionConfig::new().set_str("datafusion.sql_parser.dialect", dialect);
        Self::with(options, config).await
    }

    pub(crate) async fn create(&self, name: &str, schema: &Schema) {
        let schema = udr_core::format::Schema::from_arrow(schema).unwrap();
        self.create_stored(name, schema).await;
    }

    pub(crate) async fn create_stored(&self, name: &str, schema: udr_core::format::Schema) {
        let path = path(name);
        self.session
            .write(async move |transaction| transaction.create_table(&path, schema).await)
            .await
            .unwrap();
    }

    pub(crate) async fn create_view(&self, name: &str, sql: &str) {
        let path = path(name);
        let view = udr_core::format::View {
            sql: sql.to_owned(),
            namespace: path.namespace.clone(),
        };
        self.session
            .write(async move |transaction| {
                transaction
                    .create_view(&path, view, OnExisting::Replace)
                    .await
            })
            .await
            .unwrap();
    }

    pub(crate) async fn create_branch(&self, name: &str) {
        let head = self.session.snapshot().await.unwrap();
        let name = RefName::new(name).unwrap();
        self.session
            .repository()
            .create_branch(&name, &head)
            .await
            .unwrap();
    }

    pub(crate) async fn try_run(&self, sql: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
        self.ctx.sql(sql).await?.collect().await
    }

    #[track_caller]
    pub(crate) fn run(&self, sql: &str) -> impl Future<Output = Vec<RecordBatch>> {
        let place = std::panic::Location::caller();
        async move {
            match self.try_run(sql).await {
                Ok(batches) => batches,
                Err(error) => panic!("{place}: {sql}: {error:?}"),
            }
        }
    }

    /// What a query gives, as a person sees it.
    pub(crate) async fn shown(&self, sql: &str) -> String {
        pretty_format_batches(&self.run(sql).await)
            .unwrap()
            .to_string()
    }

    /// The values of a query's first column, as text.
    pub(crate) async fn values(&self, sql: &str) -> Vec<String> {
        let mut values = Vec::new();
        for batch in self.run(sql).await {
            for row in 0..batch.num_rows() {
                let column = batch.column(0);
                values.push(arrow::util::display::array_value_to_string(column, row).unwrap());
            }
        }
        values
    }

    /// The single value of a query, as text.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let values = self.values(sql).await;
        assert_eq!(values.len(), 1, "{sql}: {values:?}");
        values.into_iter().next().unwrap()
    }

    /// How many rows a statement says it wrote.
    pub(crate) async fn written(&self, sql: &str) -> u64 {
        let batches = self.run(sql).await;
        assert_eq!(batches.len(), 1);
        batches[0].column(0).as_primitive::<UInt64Type>().value(0)
    }

    /// The kind and the text of the UDR error that a statement ends with.
    pub(crate) async fn refused(&self, sql: &str) -> (ErrorKind, String) {
        match self.try_run(sql).await {
            Ok(batches) => {
                panic!(
                    "{sql} was accepted: {}",
                    pretty_format_batches(&batches).unwrap()
                )
            }
            Err(error) => match udr_error(&error) {
                Some(error) => (error.kind(), error.to_string()),
                None => panic!("{sql} ended with a foreign error: {error:?}"),
            },
        }
    }

    /// The physical plan of a query.
    pub(crate) async fn plan(&self, sql: &str) -> String {
        let batches = self.run(&format!("EXPLAIN {sql}")).await;
        let mut plan = String::new();
        for batch in &batches {
            let (kinds, plans) = (batch.column(0), batch.column(1));
            for row in 0..batch.num_rows() {
                let text =
                    |column| arrow::util::display::array_value_to_string(column, row).unwrap();
                if text(kinds) == "physical_plan" {
                    plan = text(plans);
                }
            }
        }
        assert!(!plan.is_empty(), "{sql} has no physical plan");
        plan
    }

    /// The version of the session's branch.
    pub(crate) async fn version(&self) -> u64 {
        let branch = self.session.branch();
        self.session
            .repository()
            .head(&branch)
            .await
            .unwrap()
            .version()
            .unwrap()
            .0
    }

    /// Checks all invariants of the repository.
    pub(crate) async fn check(&self) {
        let report = self
            .session
            .repository()
            .fsck(FsckOptions::Data)
            .await
            .unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}

pub(crate) fn path(name: &str) -> RelationPath {
    RelationPath::parse("public", name).unwrap()
}

pub(crate) fn id_and_name() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ])
}
