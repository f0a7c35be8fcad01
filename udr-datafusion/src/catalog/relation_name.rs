//! What a table name in a statement says: `table[$metadata][@revision]`, or of what happened to it
//! `table$changes[@revision..revision]`.

use udr_core::name::RelationName;
use udr_core::refs::Revision;
use udr_core::{Error, Result, error::nearest};

use super::system::TableMetadata;
use crate::changes::ChangeRange;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Its rows and what identifies them.
    Rows,
    /// One of its own records.
    Metadata(TableMetadata),
    /// What commits did to its rows.
    Changes(ChangeRange),
    /// What commits did to its rows together.
    NetChanges(ChangeRange),
    /// What commits do to its rows, as they are published; without a range, from now on.
    Tail(Option<ChangeRange>),
}

/// What follows the `$` of [`Part::Rows`].
const ROWS: &str = "rows";
/// What follows the `$` of [`Part::Changes`].
pub(crate) const CHANGES: &str = "changes";
/// What follows the `$` of [`Part::NetChanges`].
pub(crate) const NET_CHANGES: &str = "net_changes";

/// What follows the `$` of [`Part::Tail`].
pub(crate) const TAIL: &str = "tail";

/// Whether what stands before the `@` of a name says that a range of revisions follows it.
pub(crate) fn is_feed(name: &str) -> bool {
    let (table, part) = name.split_once('$').unwrap_or((name, ""));
    matches!(part, CHANGES | NET_CHANGES | TAIL) || table == CHANGES
}

impl RelationRef {
    /// Takes a name apart; no table name has `$` or `@` in it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (relation, state) = match text.split_once('@') {
            Some((relation, state)) => (relation, Some(state)),
            None => (text, None),
        };
        let range = || state.map_or_else(|| Ok(ChangeRange::default()), str::parse);
        let (name, part) = match relation.split_once('$') {
            Some((name, ROWS)) => (name, Some(Part::Rows)),
            Some((name, CHANGES)) => (name, Some(Part::Changes(range()?))),
            Some((name, NET_CHANGES)) => (name, Some(Part::NetChanges(range()?))),
            Some((name, TAIL)) => {
                let range = state.map(str::parse).transpose()?;
                (name, Some(Part::Tail(range)))
            }
            Some((name, metadata)) => (name, Some(Part::Metadata(parse_metadata(metadata)?))),
            None => (relation, None),
        };
        let revision = match part {
            Some(Part::Changes(_) | Part::NetChanges(_) | Part::Tail(_)) => None,
            _ => state.map(str::parse::<Revision>).transpose()?,
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
            let names = names
                .into_iter()
                .chain([ROWS, CHANGES, NET_CHANGES, TAIL])
                .collect::<Vec<_>>();
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
        let changes = RelationRef::parse("orders$changes@3..v1.2").unwrap();
        let range = "3..v1.2".parse().unwrap();
        assert_eq!(changes.part, Some(Part::Changes(range)));
        assert!(changes.revision.is_none());
        let net = RelationRef::parse("orders$net_changes").unwrap();
        assert_eq!(net.part, Some(Part::NetChanges(ChangeRange::default())));
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
        for text in [
            "orders@",
            "",
            "@main",
            "$files",
            "a/b",
            "t$changes@3",
            "t$changes@",
        ] {
            assert!(RelationRef::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
