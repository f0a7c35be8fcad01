//! What a table name in a statement says: `table[$metadata][@revision]`.

use udr_core::name::RelationName;
use udr_core::refs::Revision;
use udr_core::{Error, Result, error::nearest};

use super::system::TableMetadata;

/// A table name, taken apart.
#[derive(Debug, Clone)]
pub(super) struct RelationRef {
    pub(super) name: RelationName,
    /// What of the table it asks for, if not just its rows.
    pub(super) part: Option<Part>,
    /// The state it asks for, if not that of the catalog.
    pub(super) revision: Option<Revision>,
}

/// What a name can ask for of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Its rows and what identifies them.
    Rows,
    /// One of its own records.
    Metadata(TableMetadata),
}

/// What follows the `$` of [`Part::Rows`].
const ROWS: &str = "rows";

impl RelationRef {
    /// Takes a name apart; no table name has `$` or `@` in it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (relation, revision) = match text.split_once('@') {
            Some((relation, revision)) => (relation, Some(revision.parse::<Revision>()?)),
            None => (text, None),
        };
        let (name, part) = match relation.split_once('$') {
            Some((name, ROWS)) => (name, Some(Part::Rows)),
            Some((name, metadata)) => (name, Some(Part::Metadata(parse_metadata(metadata)?))),
            None => (relation, None),
        };
        Ok(Self {
            name: RelationName::new(name)?,
            part,
            revision,
        })
    }
}

fn parse_metadata(text: &str) -> Result<TableMetadata> {
    TableMetadata::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| {
            let names = TableMetadata::ALL.map(TableMetadata::as_str);
            let names = names.into_iter().chain([ROWS]).collect::<Vec<_>>();
            let error = Error::not_found("no such metadata table").with("name", format!("${text}"));
            match nearest(text, names.iter().copied()) {
                Some(near) => error.with_hint(format!("did you mean `${near}`?")),
                None => error.with_hint(format!("there are ${}", names.join(", $"))),
            }
        })
}

#[cfg(test)]
mod tests {
    use udr_core::ErrorKind;

    use super::*;

    #[test]
    fn a_name_has_up_to_three_parts() {
        let plain = RelationRef::parse("orders").unwrap();
        assert!(plain.part.is_none() && plain.revision.is_none());
        let all = RelationRef::parse("orders$files@main~2").unwrap();
        assert_eq!(all.name.as_str(), "orders");
        assert_eq!(all.part, Some(Part::Metadata(TableMetadata::Files)));
        let rows = RelationRef::parse("orders$rows").unwrap();
        assert_eq!(rows.part, Some(Part::Rows));
        assert_eq!(
            all.revision.map(|r| r.to_string()).as_deref(),
            Some("main~2")
        );
    }

    #[test]
    fn what_is_no_part_is_refused_with_the_nearest() {
        let error = RelationRef::parse("orders$flies").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.hint(), Some("did you mean `$files`?"));
        for text in ["orders@", "", "@main", "$files", "a/b"] {
            assert!(RelationRef::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
