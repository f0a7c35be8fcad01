//! The root of a new commit: the old one with the changed names replaced.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::prepare::Place;
use crate::error::Result;
use crate::format::{
    Entry, KeyEntry, KeyLog, KeyPage, Namespace, NamespacePage, ObjectRef, PageRef, Reference,
    Relations, Root, encode,
};
use crate::name::{NamespaceName, RelationName};
use crate::snapshot::Loader;

/// What names stand for after a commit; `None` for nothing.
pub(super) type Renamed = BTreeMap<NamespaceName, BTreeMap<RelationName, Option<Entry>>>;

/// Changes a root and collects the objects that it needs.
pub(super) struct RootBuilder<'a> {
    loader: &'a Loader,
    place: Place,
    pub(super) root: Root,
    pub(super) objects: Vec<Bytes>,
}

impl<'a> RootBuilder<'a> {
    pub(super) fn new(loader: &'a Loader, place: Place, root: &Root) -> Self {
        Self {
            loader,
            place,
            root: root.clone(),
            objects: Vec::new(),
        }
    }

    /// Creates or drops namespaces.
    pub(super) fn namespaces(&mut self, changes: &BTreeMap<NamespaceName, bool>) {
        for (name, exists) in changes {
            if *exists {
                self.root.namespaces.entry(name.clone()).or_default();
            } else {
                self.root.namespaces.remove(name);
            }
        }
    }

    /// Takes over which tables have foreign keys to which.
    pub(super) fn references(&mut self, changes: &BTreeMap<Reference, bool>) {
        for (reference, exists) in changes {
            if *exists {
                self.root.references.insert(*reference);
            } else {
                self.root.references.remove(reference);
            }
        }
    }

    /// Changes what names stand for; rewrites the pages that they are on and no others.
    pub(super) async fn relations(&mut self, changes: Renamed) -> Result<()> {
        for (name, changes) in changes {
            let Some(namespace) = self.root.namespaces.remove(&name) else {
                continue;
            };
            let changed = match namespace {
                Namespace::Inline(mut entries) => {
                    apply(&mut entries, changes);
                    self.inline_or_pages(entries)?
                }
                Namespace::Pages(pages) => self.pages(pages, changes).await?,
            };
            self.root.namespaces.insert(name, changed);
        }
        Ok(())
    }

    /// Remembers an idempotency key.
    pub(super) fn key(&mut self, key: &str, sequence: u64) -> Result<()> {
        if self.root.keys.recent.len() == KeyLog::PAGE {
            let keys = std::mem::take(&mut self.root.keys.recent);
            let object = self.object(encode(&KeyPage { keys })?);
            self.root.keys.pages.push(object);
            if self.root.keys.pages.len() > KeyLog::PAGES_MAX {
                self.root.keys.pages.remove(0);
            }
        }
        self.root.keys.recent.push(KeyEntry {
            key: key.to_owned(),
            sequence,
        });
        Ok(())
    }

    async fn pages(
        &mut self,
        pages: Vec<PageRef>,
        changes: BTreeMap<RelationName, Option<Entry>>,
    ) -> Result<Namespace> {
        let mut by_page = BTreeMap::<usize, BTreeMap<_, _>>::new();
        for (name, entry) in changes {
            let page = pages
                .partition_point(|page| page.first <= name)
                .saturating_sub(1);
            by_page.entry(page).or_default().insert(name, entry);
        }
        let mut rebuilt = Vec::with_capacity(pages.len() + 1);
        for (i, page) in pages.into_iter().enumerate() {
            let Some(changes) = by_page.remove(&i) else {
                rebuilt.push(page);
                continue;
            };
            let mut entries = self.loader.page(&page.object).await?.entries.clone();
            apply(&mut entries, changes);
            self.push_pages(&mut rebuilt, entries)?;
        }
        let total = rebuilt.iter().map(|page| page.entries).sum::<u64>();
        // Half of what makes pages necessary, so that a namespace does not go back and forth.
        let few = total <= Namespace::INLINE_MAX as u64 / 2;
        if total > 0 && !(few && self.has_room(usize::try_from(total).unwrap_or(usize::MAX))) {
            return Ok(Namespace::Pages(rebuilt));
        }
        let mut entries = Relations::new();
        for page in &rebuilt {
            entries.extend(self.page_entries(page).await?);
        }
        Ok(Namespace::Inline(entries))
    }

    async fn page_entries(&self, page: &PageRef) -> Result<Relations> {
        let fresh = self
            .objects
            .iter()
            .find(|b| self.place.refer(b) == page.object);
        match fresh {
            Some(bytes) => Ok(crate::format::decode::<NamespacePage>(bytes)?.entries),
            None => Ok(self.loader.page(&page.object).await?.entries.clone()),
        }
    }

    fn inline_or_pages(&mut self, entries: Relations) -> Result<Namespace> {
        if entries.is_empty() || self.has_room(entries.len()) {
            return Ok(Namespace::Inline(entries));
        }
        let mut pages = Vec::new();
        self.push_pages(&mut pages, entries)?;
        Ok(Namespace::Pages(pages))
    }

    /// Whether so many more relations can be in the root itself: every commit writes those again.
    fn has_room(&self, relations: usize) -> bool {
        let others = self.root.namespaces.values().map(|other| match other {
            Namespace::Inline(entries) => entries.len(),
            Namespace::Pages(_) => 0,
        });
        others.sum::<usize>().saturating_add(relations) <= Namespace::INLINE_MAX
    }

    /// Adds `entries` as one page, or as several half-full ones if they are too many for one.
    fn push_pages(&mut self, pages: &mut Vec<PageRef>, entries: Relations) -> Result<()> {
        let size = if entries.len() <= Namespace::PAGE_MAX {
            Namespace::PAGE_MAX
        } else {
            Namespace::PAGE_MAX / 2
        };
        let mut entries = entries.into_iter().peekable();
        while let Some((first, _)) = entries.peek() {
            let first = first.clone();
            let page = NamespacePage {
                entries: entries.by_ref().take(size).collect(),
            };
            let count = page.entries.len() as u64;
            let object = self.object(encode(&page)?);
            pages.push(PageRef {
                first,
                object,
                entries: count,
            });
        }
        Ok(())
    }

    fn object(&mut self, bytes: Bytes) -> ObjectRef {
        let reference = self.place.refer(&bytes);
        self.objects.push(bytes);
        reference
    }
}

fn apply(entries: &mut Relations, changes: BTreeMap<RelationName, Option<Entry>>) {
    for (name, entry) in changes {
        match entry {
            Some(entry) => entries.insert(name, entry),
            None => entries.remove(&name),
        };
    }
}
