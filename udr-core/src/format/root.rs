//! The catalog at one commit: namespaces, their tables and views.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ObjectRef, Reference, Stored, Within};
use crate::error::{Error, Result};
use crate::id::TableId;
use crate::name::{NamespaceName, RelationName};

/// The tables and views of one namespace, by name.
pub type Relations = BTreeMap<RelationName, Entry>;

/// Every table and view at one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// The namespaces, by name.
    pub namespaces: BTreeMap<NamespaceName, Namespace>,
    /// Which tables have foreign keys to which: those of the constraints of all tables.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub references: BTreeSet<Reference>,
    /// The idempotency keys of the latest commits that had one.
    #[serde(default, skip_serializing_if = "KeyLog::is_empty")]
    pub keys: KeyLog,
}

/// The relations of a namespace: few in place, many on pages, so that a commit to one table
/// rewrites one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Namespace {
    /// At most [`Namespace::INLINE_MAX`] relations.
    Inline(Relations),
    /// Pages in order of name.
    Pages(Vec<PageRef>),
}

impl Namespace {
    /// The most relations that are kept in the root itself, of all namespaces together. Readers rely
    /// on it for each.
    pub const INLINE_MAX: usize = 32;
    /// The most relations on a page.
    pub const PAGE_MAX: usize = 256;
}

impl Default for Namespace {
    fn default() -> Self {
        Self::Inline(Relations::new())
    }
}

/// A page of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageRef {
    /// The first name on it.
    pub first: RelationName,
    /// The [`NamespacePage`].
    pub object: ObjectRef,
    /// How many names are on it.
    pub entries: u64,
}

/// Some of the relations of a namespace, a range of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespacePage {
    /// The relations.
    pub entries: Relations,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// A table.
    Table {
        /// Which table, whatever its name.
        id: TableId,
        /// Its [`TableState`](super::TableState).
        state: ObjectRef,
    },
    /// A view.
    View(View),
}

/// A stored query: its SQL text, never a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The query.
    pub sql: String,
    /// The namespace in which its unqualified names are looked up.
    pub namespace: NamespaceName,
}

/// The latest idempotency keys, oldest first: some in place, older ones on pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLog {
    /// The latest.
    pub recent: Vec<KeyEntry>,
    /// Older ones, a [`KeyPage`] each, oldest first.
    pub pages: Vec<ObjectRef>,
}

impl KeyLog {
    /// Keys on a page, and the most in place.
    pub const PAGE: usize = 64;
    /// The most pages; the oldest is forgotten beyond.
    pub const PAGES_MAX: usize = 64;

    /// Whether no commit had a key.
    pub fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.pages.is_empty()
    }
}

/// [`KeyLog::PAGE`] idempotency keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<KeyEntry>,
}

/// An idempotency key and the commit that had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// The key.
    pub key: String,
    /// The sequence of the commit; its id cannot be here, since it depends on this root.
    pub sequence: u64,
}

impl Stored for Root {
    const KIND: &'static str = "root";

    fn validate(&self) -> Result<()> {
        for (name, namespace) in &self.namespaces {
            let refuse = |why: &str| Err(Error::corrupt(why.to_owned()).with("namespace", name));
            match namespace {
                Namespace::Inline(entries) if entries.len() > Namespace::INLINE_MAX => {
                    return refuse("a namespace has too many relations in place");
                }
                Namespace::Pages(pages)
                    if pages.is_empty() || !pages.is_sorted_by(|a, b| a.first < b.first) =>
                {
                    return refuse("the pages of a namespace are out of order");
                }
                _ => {}
            }
        }
        if self.keys.recent.len() > KeyLog::PAGE || self.keys.pages.len() > KeyLog::PAGES_MAX {
            return Err(Error::corrupt("a root has too many idempotency keys"));
        }
        Ok(())
    }

    fn settle(&mut self, home: Option<Within>) -> Result<()> {
        for namespace in self.namespaces.values_mut() {
            match namespace {
                Namespace::Inline(entries) => settle(entries, home)?,
                Namespace::Pages(pages) => {
                    for page in pages {
                        page.object.settle(home)?;
                    }
                }
            }
        }
        self.keys
            .pages
            .iter_mut()
            .try_for_each(|page| page.settle(home))
    }
}

impl Stored for NamespacePage {
    const KIND: &'static str = "namespace_page";

    fn validate(&self) -> Result<()> {
        if self.entries.is_empty() || self.entries.len() > Namespace::PAGE_MAX {
            return Err(Error::corrupt("a namespace page is empty or too large"));
        }
        Ok(())
    }

    fn settle(&mut self, home: Option<Within>) -> Result<()> {
        settle(&mut self.entries, home)
    }
}

fn settle(entries: &mut Relations, home: Option<Within>) -> Result<()> {
    for entry in entries.values_mut() {
        if let Entry::Table { state, .. } = entry {
            state.settle(home)?;
        }
    }
    Ok(())
}

impl Stored for KeyPage {
    const KIND: &'static str = "key_page";

    fn validate(&self) -> Result<()> {
        Ok(())
    }
}
