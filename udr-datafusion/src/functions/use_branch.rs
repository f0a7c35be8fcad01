//! `udr_use('branch')`, as a value and as a table.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use udr_core::name::RefName;
use udr_core::{Error, Result as CoreResult};

use super::only_string;
use crate::error::to_datafusion;
use crate::exec::CommandTable;
use crate::session::UdrSession;
use crate::sql::ast::{Command, Statement};
use crate::statement::{command_schema, run_parsed};

const NAME: &str = "udr_use";

/// Whether evaluating the expression itself changes the session.
pub(crate) fn has_effects(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == NAME)
}

/// The value form.
pub(super) fn scalar(session: Arc<UdrSession>) -> ScalarUDF {
    let signature = Signature::string(1, Volatility::Volatile);
    AsyncScalarUDF::new(Arc::new(UdrUse { session, signature })).into_scalar_udf()
}

#[derive(Debug)]
struct UdrUse {
    session: Arc<UdrSession>,
    signature: Signature,
}

impl PartialEq for UdrUse {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.session, &other.session)
    }
}

impl Eq for UdrUse {}

impl Hash for UdrUse {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.session).hash(state);
    }
}

impl ScalarUDFImpl for UdrUse {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(to_datafusion(Error::internal(
            "an asynchronous function was called synchronously",
        )))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for UdrUse {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.number_rows == 0 {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
        }
        let branch = self.use_branch(&args).await.map_err(to_datafusion)?;
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(branch))))
    }
}

impl UdrUse {
    async fn use_branch(&self, args: &ScalarFunctionArgs) -> CoreResult<String> {
        let value = match (args.args.as_slice(), args.number_rows) {
            ([ColumnarValue::Scalar(value)], _) => Some(value.clone()),
            ([ColumnarValue::Array(values)], 1) => ScalarValue::try_from_array(values, 0).ok(),
            _ => None,
        };
        let name = value
            .as_ref()
            .and_then(|value| value.try_as_str().flatten());
        let name = name.ok_or_else(|| {
            Error::invalid("udr_use takes one branch's name").with_hint("SELECT udr_use('dev')")
        })?;
        self.session.use_branch(&RefName::new(name)?).await?;
        Ok(self.session.branch().to_string())
    }
}

/// The table form.
#[derive(Debug)]
pub(super) struct UdrUseTable {
    session: Arc<UdrSession>,
}

impl UdrUseTable {
    pub(super) fn new(session: Arc<UdrSession>) -> Self {
        Self { session }
    }
}

impl TableFunctionImpl for UdrUseTable {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let name =
            only_string(args.exprs(), "SELECT * FROM udr_use('dev')").map_err(to_datafusion)?;
        let command = Command::UseBranch(name);
        let schema = command_schema(&command);
        let session = Arc::clone(&self.session);
        Ok(Arc::new(CommandTable::new(schema, move || {
            let (session, command) = (Arc::clone(&session), command.clone());
            Box::pin(async move { run_parsed(&session, Statement::Command(command)).await })
        })))
    }
}
