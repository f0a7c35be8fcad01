//! `IMPORT PARQUET … COPY`: an INSERT by name of the files' rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemorySchemaProvider,
    SchemaProvider as _,
};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::sql::sqlparser::ast::Ident;
use futures::{StreamExt as _, TryStreamExt as _};
use udr_core::env::Env;
use udr_core::format::Schema;
use udr_core::name::RelationPath;
use udr_core::snapshot::Relation;
use udr_core::store::Store;
use udr_core::{Error, Result};

use super::{Found, NO_ROWS};
use crate::error::to_datafusion;
use crate::session::UdrSession;
use crate::sql::parser::parse;
use crate::statement::{parse_options, run_in};

/// A catalog that nobody can have.
const FILES: &str = "~files";

/// Writes the rows of the files to the table, which is made if it is not there; returns their
/// number.
pub(super) async fn copy(
    state: &SessionState,
    session: &Arc<UdrSession>,
    path: &RelationPath,
    found: Vec<Found>,
) -> Result<u64> {
    let snapshot = session.snapshot().await?;
    let exists = matches!(snapshot.relation(path).await?, Some(Relation::Table(_)));
    let schema = merged(&found)?;
    let parts = state.config_options().execution.target_partitions.max(1);
    let mut groups: Vec<Vec<Arc<Found>>> = vec![Vec::new(); parts.min(found.len().max(1))];
    let count = groups.len();
    for (at, file) in found.into_iter().enumerate() {
        groups[at % count].push(Arc::new(file));
    }
    let streams = groups.into_iter().map(|files| {
        Arc::new(Rows {
            schema: Arc::clone(&schema),
            store: session.repository().store().clone(),
            env: session.repository().env().clone(),
            files,
        }) as Arc<dyn PartitionStream>
    });
    let files = files_catalog(&schema, streams.collect())
        .map_err(|e| Error::internal("the files cannot be read").with_source(e))?;
    let mut state = state.clone();
    let list = WithFiles {
        list: Arc::clone(state.catalog_list()),
        files,
    };
    state.register_catalog_list(Arc::new(list));
    let quoted = |name: &str| Ident::with_quote('"', name).to_string();
    let catalog = quoted(session.catalog());
    let (namespace, name) = (quoted(path.namespace.as_str()), quoted(path.name.as_str()));
    let source = format!("SELECT * FROM {}.public.files", quoted(FILES));
    let sql = match exists {
        true => format!("INSERT INTO {catalog}.{namespace}.{name} BY NAME {source}"),
        false => format!("CREATE TABLE {catalog}.{namespace}.{name} AS {source}"),
    };
    let statement = parse(&sql, parse_options(state.config_options()))
        .map_err(|e| Error::internal("an import cannot be written as SQL").with_source(e))?;
    let written = run_in(&state, session, statement).await?;
    super::count(&written)
}

/// The columns of all files, by name.
fn merged(found: &[Found]) -> Result<SchemaRef> {
    let mut columns: Vec<Field> = Vec::new();
    for file in found {
        let own = file.shape.columns();
        let stored = Schema::from_arrow(own).map_err(|e| e.with("file", file.shape.url()))?;
        for field in stored.fields() {
            let field = Field::new(&field.name, field.ty.to_arrow(), true);
            match columns.iter().find(|known| known.name() == field.name()) {
                None => columns.push(field),
                Some(known) if known.data_type() == field.data_type() => {}
                Some(known) => {
                    return Err(
                        Error::invalid("a column is of different types in the files")
                            .with("column", known.name())
                            .with("type", known.data_type())
                            .with("other", field.data_type())
                            .with("file", file.shape.url())
                            .with_hint("import them one after the other"),
                    );
                }
            }
        }
    }
    let own = columns.len();
    for (name, _) in found.iter().flat_map(|file| file.folders.iter().rev()) {
        if !columns.iter().any(|known| known.name() == name) {
            let of_name = super::folder_type(found, name);
            columns.push(Field::new(name, of_name, true));
        }
    }
    match own {
        0 => Err(Error::invalid(NO_ROWS)),
        _ => Ok(Arc::new(ArrowSchema::new(columns))),
    }
}

fn files_catalog(
    schema: &SchemaRef,
    streams: Vec<Arc<dyn PartitionStream>>,
) -> Result<Arc<dyn CatalogProvider>, DataFusionError> {
    let table = StreamingTable::try_new(Arc::clone(schema), streams)?;
    let namespace = MemorySchemaProvider::new();
    namespace.register_table("files".to_owned(), Arc::new(table))?;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema("public", Arc::new(namespace))?;
    Ok(Arc::new(catalog))
}

/// The rows of some files.
struct Rows {
    schema: SchemaRef,
    store: Store,
    env: Env,
    files: Vec<Arc<Found>>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (store, env) = (self.store.clone(), self.env.clone());
        let schema = Arc::clone(&self.schema);
        let files = futures::stream::iter(self.files.clone());
        let rows = files.then(move |file| {
            let (store, env, schema) = (store.clone(), env.clone(), Arc::clone(&schema));
            async move {
                let (_, batches) = file.shape.read(&store, &env).await?;
                Ok::<_, Error>(batches.map(move |batch| completed(&schema, &file, &batch?)))
            }
        });
        let rows = rows.try_flatten().map_err(to_datafusion);
        let schema = Arc::clone(&self.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// The rows with the columns that their file lacks.
fn completed(schema: &SchemaRef, file: &Found, batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let columns = schema.fields().iter().map(|field| {
        if let Some(column) = batch.column_by_name(field.name()) {
            return Ok(Arc::clone(column));
        }
        let mut folders = file.folders.iter();
        match folders.find(|(name, _)| name == field.name()) {
            Some((_, Some(value))) => {
                let same = StringArray::from_iter_values(std::iter::repeat_n(value, rows));
                let same = Arc::new(same) as ArrayRef;
                super::cast_value(&same, field.data_type(), field.name())
            }
            _ => Ok(new_null_array(field.data_type(), rows)),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|e| Error::internal("columns do not make a batch").with_source(e))
}

/// A list of catalogs, and the one with the files.
#[derive(Debug)]
struct WithFiles {
    list: Arc<dyn CatalogProviderList>,
    files: Arc<dyn CatalogProvider>,
}

impl CatalogProviderList for WithFiles {
    fn register_catalog(
        &self,
        name: String,
        catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        self.list.register_catalog(name, catalog)
    }

    fn catalog_names(&self) -> Vec<String> {
        self.list.catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        match name == FILES {
            true => Some(Arc::clone(&self.files)),
            false => self.list.catalog(name),
        }
    }
}
