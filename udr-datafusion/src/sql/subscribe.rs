//! `SUBSCRIBE TO t [FROM revision]`: a query of what comes.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::Ident;

use super::changes::range_end;
use super::cursor::Cursor;
use super::{command, external};
use crate::catalog::TAIL;

/// The query that a subscription is; `None` if the statement is another.
pub(super) fn subscribe(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    if !cursor.take(&["SUBSCRIBE", "TO"]) {
        return Ok(None);
    }
    cursor.take(&["TABLE"]);
    let table = cursor.table()?;
    if table.table().contains(['@', '$']) {
        return Err(external(
            udr_core::Error::invalid("a table's plain name is followed")
                .with("name", table.table()),
        ));
    }
    let from = match cursor.take(&["FROM"]) {
        true => format!("@{}..", range_end(command::revision_of(cursor)?)?),
        false => String::new(),
    };
    let mut parts = table.to_vec();
    if let Some(name) = parts.last_mut() {
        *name = format!("{name}${TAIL}{from}");
    }
    let parts = parts
        .iter()
        .map(|part| Ident::with_quote('"', part).to_string());
    let name = parts.collect::<Vec<_>>().join(".");
    Ok(Some(format!("SELECT * FROM {name}")))
}
