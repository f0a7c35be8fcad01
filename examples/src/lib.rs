//! The code of the documentation, compiled and run as doctests; the examples are targets of their own.

/// The README's Rust.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// The statements of a page run in the order in which they stand.
///
/// ```
/// use datafusion::prelude::SessionContext;
/// use udr_core::Repository;
/// use udr_core::env::Env;
/// use udr_core::store::Store;
/// use udr_datafusion::sql::split_statements;
/// use udr_datafusion::{InstallOptions, install, udr_sql};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// for page in [
///     include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")),
///     include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sql.md")),
/// ] {
///     let blocks = page.split("```sql\n").skip(1);
///     let blocks = blocks.filter_map(|rest| rest.split("```").next()).collect::<Vec<_>>();
///     assert!(!blocks.is_empty());
///     let repository = Repository::create(Store::memory(), Env::system()).await?;
///     let ctx = SessionContext::new();
///     install(&ctx, InstallOptions::new(repository.clone())).await?;
///     for block in blocks {
///         for statement in split_statements(block)? {
///             let frame = udr_sql(&ctx, &statement).await;
///             let rows = match frame {
///                 Ok(frame) => frame.collect().await,
///                 Err(error) => Err(error),
///             };
///             rows.unwrap_or_else(|error| panic!("{statement}: {error}"));
///         }
///     }
///     assert!(repository.fsck(Default::default()).await?.is_clean());
/// }
/// # Ok(())
/// # }
/// ```
#[cfg(doctest)]
mod pages {}
