//! Refusals that DataFusion hides.
//!
//! `DROP … IF EXISTS` is done while it is planned, which cannot wait for a commit, and DataFusion
//! answers every failure of it with success: a frame without columns. So a refusal is also left in
//! the context's settings. The frame takes a copy of them with it, and when it is collected, the
//! analyzer rule finds the refusal there.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use udr_core::Error;

use super::provider::refuse_ddl;
use crate::session::UdrSession;

/// A statement that was not run.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    statement: &'static str,
    name: String,
    told: Arc<AtomicBool>,
}

impl Refused {
    /// Refuses a statement, also to whoever collects its frame.
    pub(super) fn leave(session: &UdrSession, statement: &'static str, name: &str) -> Error {
        let refused = Self {
            statement,
            name: name.to_owned(),
            told: Arc::default(),
        };
        // A caller that holds on to the settings is told by the error.
        session.change_options(|options| options.extensions.insert(refused));
        refuse_ddl(statement, name)
    }

    /// The refusal that `plan`, the result of a statement, hides.
    pub(crate) fn hidden(plan: &LogicalPlan, config: &ConfigOptions) -> Option<Error> {
        let LogicalPlan::EmptyRelation(empty) = plan else {
            return None;
        };
        if empty.produce_one_row || !empty.schema.fields().is_empty() {
            return None;
        }
        let refused = config.extensions.get::<Self>()?;
        let told = refused.told.swap(true, Ordering::AcqRel);
        (!told).then(|| refuse_ddl(refused.statement, &refused.name))
    }
}

impl ConfigExtension for Refused {
    const PREFIX: &'static str = "udr_refused";
}

impl ExtensionOptions for Refused {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        Err(DataFusionError::Configuration(format!(
            "there is no setting udr_refused.{key}"
        )))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
