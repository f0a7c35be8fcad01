//! The repository, opened, with a DataFusion context on it.
//!
//! In: where and how to open. Out: a [`Session`] that plans statements and knows its state. Called
//! by everything that needs the repository. The only file that knows how one is opened.

use datafusion::dataframe::DataFrame;
use datafusion::error::Result as DataFusionResult;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::args::Connection;
use crate::console::Console;
use crate::environment::Environment;
use crate::exit::{Exit, Failure};

/// One client of one repository.
pub(crate) struct Session {
    context: SessionContext,
    label: String,
}

/// What the prompt shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The current branch.
    pub(crate) branch: String,
    /// The state that reads are pinned to.
    pub(crate) pin: Option<String>,
    /// A transaction is open.
    pub(crate) transaction: bool,
    /// The open transaction has changes.
    pub(crate) changed: bool,
}

/// What names can be completed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Tables and views.
    pub(crate) tables: Vec<String>,
    /// Columns, by table.
    pub(crate) columns: Vec<(String, Vec<String>)>,
    /// Branches.
    pub(crate) branches: Vec<String>,
    /// Tags.
    pub(crate) tags: Vec<String>,
}

impl Session {
    pub(crate) async fn open(
        connection: &Connection,
        _environment: &Environment,
        console: &Console,
    ) -> Result<Self, Failure> {
        let runtime = connection.memory_limit.runtime()?;
        let config = SessionConfig::new().with_information_schema(true);
        let context = SessionContext::new_with_config_rt(config, runtime);
        console.notice(
            "notice: no --repo given: this repository is in memory and ends with the program",
        );
        Ok(Self {
            context,
            label: "memory".to_owned(),
        })
    }

    pub(crate) async fn sql(&self, sql: &str) -> DataFusionResult<DataFrame> {
        self.context.sql(sql).await
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn location(&self) -> &str {
        "memory://"
    }

    pub(crate) fn state(&self) -> State {
        State {
            branch: "main".to_owned(),
            ..State::default()
        }
    }

    pub(crate) async fn rollback(&self) -> Result<(), Failure> {
        Ok(())
    }

    pub(crate) async fn names(&self) -> Result<Names, Failure> {
        Ok(Names::default())
    }
}

pub(crate) fn split_statements(sql: &str) -> udr_core::Result<Vec<String>> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize()
        .map_err(|e| udr_core::Error::invalid(e.to_string()))?;
    let mut out = vec![String::new()];
    for token in tokens {
        match token {
            Token::SemiColon => out.push(String::new()),
            t => out.last_mut().map_or((), |s| s.push_str(&t.to_string())),
        }
    }
    Ok(out
        .into_iter()
        .map(|s| s.trim().to_owned())
        .filter(|s| !s.is_empty())
        .collect())
}

pub(crate) fn is_complete(sql: &str) -> bool {
    Tokenizer::new(&GenericDialect {}, sql)
        .tokenize()
        .is_ok_and(|tokens| {
            tokens
                .iter()
                .rev()
                .find(|t| !matches!(t, Token::Whitespace(_)))
                == Some(&Token::SemiColon)
        })
}
