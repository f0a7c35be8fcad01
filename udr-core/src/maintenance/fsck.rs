//! `fsck`: reads everything that is reachable from any ref record and checks the invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::data::DeletionVector;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{
    Change, Commit, CommitRef, Constraint, DataFile, Entry, KeyPage, Manifest, ManifestRef,
    Namespace, ObjectRef, RecordKind, RefRecord, Reference, Relations, Schema, Sketches,
    TableState,
};
use crate::id::{Digest, FieldId, RecordNumber, TableId};
use crate::name::RefName;
use crate::store::RefKind;
use crate::txn::Context;

/// How thorough to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FsckOptions {
    /// Metadata whole; of data files the footers.
    #[default]
    Metadata,
    /// Every byte, and statistics against the values that they describe.
    Data,
}

/// What `fsck` read and what is wrong.
#[derive(Debug, Clone, Default)]
pub struct FsckReport {
    /// Ref records that were read.
    pub records: u64,
    /// Commits that were read.
    pub commits: u64,
    /// Distinct metadata objects that were read, commits included.
    pub objects: u64,
    /// Distinct data files that were checked.
    pub data_files: u64,
    /// Their bytes.
    pub data_bytes: u64,
    /// Distinct deletion vectors that were read.
    pub deletion_vectors: u64,
    /// What is wrong; empty if all is well.
    pub problems: Vec<Problem>,
}

/// Something that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The number of the invariant that is broken.
    pub invariant: u8,
    /// Where: a ref and version, or an object.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} (invariant {})",
            self.place, self.message, self.invariant
        )
    }
}

impl FsckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks everything that is reachable.
pub(crate) async fn fsck(context: &Context, options: FsckOptions) -> Result<FsckReport> {
    let mut check = Check {
        context,
        options,
        report: FsckReport::default(),
        seen: BTreeSet::new(),
        manifests: BTreeMap::new(),
        files: BTreeMap::new(),
        vectors: BTreeSet::new(),
        sequences: BTreeMap::new(),
        parents: BTreeMap::new(),
    };
    for kind in [RefKind::Branch, RefKind::Tag] {
        for name in context.store.list_refs(kind).await? {
            check.log(kind, &name).await?;
        }
    }
    Ok(check.report)
}

struct Check<'a> {
    context: &'a Context,
    options: FsckOptions,
    report: FsckReport,
    /// Objects that were checked with everything below them.
    seen: BTreeSet<Digest>,
    /// Manifests that were checked with everything below them, and against what.
    manifests: BTreeMap<Digest, Digest>,
    /// Data files that were checked, and against what; equal files of two tables are two objects.
    files: BTreeMap<(TableId, Digest), Digest>,
    /// Deletion vectors that were checked, with what their entries say: rows deleted, rows of the
    /// file.
    vectors: BTreeSet<(TableId, Digest, u64, u64)>,
    /// The sequence of each commit, and its first parent.
    sequences: BTreeMap<Digest, Option<Digest>>,
    /// The tables that the foreign keys of each table state lead to.
    parents: BTreeMap<Digest, BTreeSet<TableId>>,
}

impl Check<'_> {
    /// One ref: its records are dense, ordered and lead to valid commits (invariants 2 to 4).
    async fn log(&mut self, kind: RefKind, name: &RefName) -> Result<()> {
        let numbers = self.context.store.list_records(kind, name).await?;
        let mut below: Option<Arc<RefRecord>> = None;
        for number in numbers {
            let place = format!("{} {name} record {number}", kind.noun());
            let read = self.context.refs.record(kind, name, number).await;
            let Some(Some(record)) = self.found(2, &place, read)? else {
                continue;
            };
            self.report.records += 1;
            self.follows(&place, below.as_deref(), &record, number);
            for commit in record.head.iter().chain(&record.commits) {
                self.commits(&place, *commit).await?;
            }
            self.published(&place, below.as_deref(), &record);
            if let Some(from) = &record.from {
                let origin = self
                    .context
                    .refs
                    .record(RefKind::Branch, &from.branch, from.number());
                let origin = self.found(2, &place, origin.await)?;
                let version = |found: Arc<RefRecord>| found.version;
                if origin.is_some_and(|found| found.map(version) != Some(from.version)) {
                    self.problem(2, &place, "the branch it came from lacks that version");
                }
            }
            below = Some(record);
        }
        Ok(())
    }

    fn follows(
        &mut self,
        place: &str,
        below: Option<&RefRecord>,
        record: &RefRecord,
        number: RecordNumber,
    ) {
        let Some(below) = below else {
            if record.kind != RecordKind::Create {
                self.problem(2, place, "the first record of a ref is not its creation");
            }
            return;
        };
        if below.number().0 + 1 != number.0 {
            self.problem(2, place, "the record below it is missing");
        }
        let next = below.version.0.saturating_add(1);
        let wanted = record.from.as_ref().map_or(0, |from| from.version.0);
        let expected = match record.kind {
            RecordKind::Create => next.max(wanted),
            _ => next,
        };
        if record.version.0 != expected {
            self.problem(3, place, "its version does not follow the one below it");
        }
        if below.at > record.at {
            self.problem(3, place, "it is older than the record below it");
        }
        let starts = record.kind == RecordKind::Create;
        if starts != (below.kind == RecordKind::Delete) {
            self.problem(
                2,
                place,
                "a ref was created twice or moved after its deletion",
            );
        }
        if !starts && below.started_at != record.started_at {
            self.problem(2, place, "it says that the ref started elsewhere");
        }
        if record.kind == RecordKind::Fence && below.head != record.head {
            self.problem(2, place, "a fence moved the ref");
        }
    }

    /// The commits of a record follow the head below and each other (invariant 2).
    fn published(&mut self, place: &str, below: Option<&RefRecord>, record: &RefRecord) {
        let mut parent = below.and_then(|below| below.head).map(|head| head.id());
        for commit in &record.commits {
            let first_parent = self.sequences.get(&commit.id()).copied().flatten();
            if first_parent.is_none() || first_parent != parent {
                self.problem(2, place, "a commit does not follow the one before it");
            }
            parent = Some(commit.id());
        }
    }

    /// A commit and, since they may have been published on refs that were dropped, its ancestors.
    async fn commits(&mut self, place: &str, commit: CommitRef) -> Result<()> {
        let mut waiting = vec![commit];
        while let Some(reference) = waiting.pop() {
            if !self.seen.insert(reference.id()) {
                continue;
            }
            let place = format!("{place}, commit {}", reference.id().short());
            let read = self.context.history.commit(&reference).await;
            let Some(commit) = self.found(4, &place, read)? else {
                continue;
            };
            self.report.commits += 1;
            self.report.objects += 1;
            self.sequences
                .insert(reference.id(), commit.parents.first().map(CommitRef::id));
            self.root(&place, &commit).await?;
            waiting.extend(&commit.parents);
        }
        Ok(())
    }

    async fn root(&mut self, place: &str, commit: &Commit) -> Result<()> {
        if !self.seen.insert(commit.root.digest) {
            return Ok(());
        }
        let root = self
            .context
            .loader
            .object::<crate::format::Root>(&commit.root)
            .await;
        let Some(root) = self.found(4, &at(place, &commit.root), root)? else {
            return Ok(());
        };
        self.report.objects += 1;
        for page in &root.keys.pages {
            if self.seen.insert(page.digest) {
                let read = self.context.loader.object::<KeyPage>(page).await;
                self.found(4, &at(place, page), read)?;
                self.report.objects += 1;
            }
        }
        let mut tables = BTreeSet::new();
        let mut references = BTreeSet::new();
        for namespace in root.namespaces.values() {
            for entries in self.entries(place, namespace).await? {
                for entry in entries.values() {
                    let Entry::Table { id, state } = entry else {
                        continue;
                    };
                    if !tables.insert(*id) {
                        self.problem(7, place, "two names stand for one table");
                    }
                    self.table(place, *id, state).await?;
                    let parents = self.parents.get(&state.digest).into_iter().flatten();
                    references.extend(parents.map(|parent| Reference {
                        child: *id,
                        parent: *parent,
                    }));
                }
            }
        }
        let leads_nowhere = |reference: &Reference| !tables.contains(&reference.parent);
        if references != root.references || references.iter().any(leads_nowhere) {
            self.problem(
                4,
                place,
                "the references of a root are not its foreign keys",
            );
        }
        self.summary(place, commit, &tables);
        Ok(())
    }

    /// A commit's own summary names tables that are there, or says that they went.
    fn summary(&mut self, place: &str, commit: &Commit, tables: &BTreeSet<TableId>) {
        use crate::format::TableOperation;
        for change in &commit.changes {
            let Change::Table(change) = change else {
                continue;
            };
            let dropped = change.operations.contains(&TableOperation::Drop);
            if dropped == tables.contains(&change.table) {
                self.problem(
                    4,
                    place,
                    "the summary of a commit does not agree with its tables",
                );
            }
        }
    }

    async fn entries(&mut self, place: &str, namespace: &Namespace) -> Result<Vec<Relations>> {
        let pages = match namespace {
            Namespace::Inline(entries) => return Ok(vec![entries.clone()]),
            Namespace::Pages(pages) => pages,
        };
        let mut all = Vec::new();
        for page in pages {
            let read = self.context.loader.page(&page.object).await;
            let Some(found) = self.found(4, &at(place, &page.object), read)? else {
                continue;
            };
            if self.seen.insert(page.object.digest) {
                self.report.objects += 1;
            }
            if found.entries.keys().next() != Some(&page.first)
                || found.entries.len() as u64 != page.entries
            {
                self.problem(4, place, "a namespace page is not what its reference says");
            }
            all.push(found.entries.clone());
        }
        Ok(all)
    }

    async fn table(&mut self, place: &str, id: TableId, object: &ObjectRef) -> Result<()> {
        if !self.seen.insert(object.digest) {
            return Ok(());
        }
        let place = at(place, object);
        let state = self.context.loader.object::<TableState>(object).await;
        let Some(state) = self.found(4, &place, state)? else {
            return Ok(());
        };
        self.report.objects += 1;
        if state.id != id {
            self.problem(7, &place, "a table state belongs to another table");
        }
        let parents = state.constraints.iter().filter_map(Constraint::parent);
        self.parents.insert(object.digest, parents.collect());
        if let Some(sketches) = &state.sketches {
            self.sketches(&place, &state.schema, sketches).await?;
        }
        let mut waiting = state.manifests.clone();
        while let Some(reference) = waiting.pop() {
            // One manifest has many references, and each can be spoiled.
            let says = Digest::of(format!("{reference:?}").as_bytes());
            let before = self.manifests.insert(reference.object.digest, says);
            if before == Some(says) {
                continue;
            }
            let place = at(&place, &reference.object);
            let read = self.manifest(&reference).await;
            let Some(manifest) = self.found(4, &place, read)? else {
                continue;
            };
            self.report.objects += u64::from(before.is_none());
            if manifest.level() > 0 {
                let children = manifest.manifests(&state.schema, 0..manifest.len());
                if let Some(children) = self.found(5, &place, children)? {
                    self.aggregated(&place, &state.schema, &reference, &children);
                    waiting.extend(children);
                }
                continue;
            }
            let files = manifest.files(&state.schema, 0..manifest.len());
            let files = self.found(5, &place, files)?.unwrap_or_default();
            self.summed_up(&place, &state.schema, &reference, &files);
            for file in files {
                self.file(&place, id, &state.schema, &file).await?;
            }
        }
        Ok(())
    }

    /// The sketches of a table are of columns that it has or had.
    async fn sketches(&mut self, place: &str, schema: &Schema, object: &ObjectRef) -> Result<()> {
        if !self.seen.insert(object.digest) {
            return Ok(());
        }
        let read = self.context.loader.object::<Sketches>(object).await;
        let checked = read.and_then(|read| read.check(schema, &Error::corrupt));
        self.found(4, &at(place, object), checked)?;
        self.report.objects += 1;
        Ok(())
    }

    async fn manifest(&self, reference: &ManifestRef) -> Result<Manifest> {
        let bytes = self.context.store.get_object(&reference.object).await?;
        Manifest::decode(bytes, reference)
    }

    /// The statistics of an inner manifest are those of the manifests below (invariant 5).
    fn aggregated(
        &mut self,
        place: &str,
        schema: &Schema,
        reference: &ManifestRef,
        children: &[ManifestRef],
    ) {
        match Manifest::encode_manifests(schema, reference.object.epoch, children) {
            Ok((again, _)) if agree(schema, reference, &again) => {}
            _ => self.problem(5, place, "statistics are not those of the manifests below"),
        }
    }

    /// The statistics of a leaf are those of its files (invariant 5).
    fn summed_up(
        &mut self,
        place: &str,
        schema: &Schema,
        reference: &ManifestRef,
        files: &[DataFile],
    ) {
        let files = files.iter().cloned().map(Arc::new).collect::<Vec<_>>();
        match Manifest::encode_files(schema, reference.object.epoch, &files) {
            Ok((again, _)) if agree(schema, reference, &again) => {}
            _ => self.problem(5, place, "statistics are not those of the data files below"),
        }
    }

    async fn file(
        &mut self,
        place: &str,
        table: TableId,
        schema: &Schema,
        file: &DataFile,
    ) -> Result<()> {
        let place = format!("{place}, data file {}", file.object.digest.short());
        self.deletes(&place, table, file).await?;
        // What an entry says can be spoiled when manifests are merged, so each that says something
        // else of the file is checked.
        let facts = (&file.object, file.footer_bytes, file.footer_digest);
        let facts = (facts, file.rows, file.carries_identity, &file.columns);
        let facts = Digest::of(format!("{facts:?}").as_bytes());
        match self.files.insert((table, file.object.digest), facts) {
            Some(before) if before == facts => return Ok(()),
            Some(_) => {}
            None => {
                self.report.data_files += 1;
                self.report.data_bytes += file.object.bytes;
            }
        }
        let store = &self.context.store;
        let checked = match self.options {
            FsckOptions::Metadata => crate::data::verify_footer(store, table, file, schema).await,
            FsckOptions::Data => crate::data::verify_data_file(store, table, file, schema).await,
        };
        self.found(5, &place, checked)?;
        Ok(())
    }

    /// The deletion vector of a file refers to rows of it, as many as its entry says
    /// (invariant 6).
    async fn deletes(&mut self, place: &str, table: TableId, file: &DataFile) -> Result<()> {
        let Some(reference) = &file.deletes else {
            return Ok(());
        };
        let digest = reference.object.digest;
        if !self
            .vectors
            .insert((table, digest, reference.rows, file.rows))
        {
            return Ok(());
        }
        self.report.deletion_vectors += 1;
        let store = &self.context.store;
        let read = DeletionVector::read(store, table, reference, file.rows).await;
        let place = format!("{place}, deletion vector {}", digest.short());
        self.found(6, &place, read)?;
        Ok(())
    }

    /// Takes what was read, or notes that it is not as it should be. What cannot be read because
    /// the store does not answer says nothing about the repository.
    fn found<T>(&mut self, invariant: u8, place: &str, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) => match error.kind() {
                ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported => {
                    self.problem(invariant, place, &chain(&error));
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    }

    fn problem(&mut self, invariant: u8, place: &str, message: &str) {
        self.report.problems.push(Problem {
            invariant,
            place: place.to_owned(),
            message: message.to_owned(),
        });
    }
}

fn at(place: &str, object: &ObjectRef) -> String {
    format!("{place}, object {}", object.digest.short())
}

fn chain(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether a reference says what its entries add up to. It, or they, may be of before a column was
/// added: then one of them says nothing of it.
fn agree(schema: &Schema, reference: &ManifestRef, again: &ManifestRef) -> bool {
    let absent = |id: &FieldId| schema.field_by_id(*id)?.absent_stats(reference.rows);
    let ids = reference.columns.keys().chain(again.columns.keys());
    ids.into_iter().all(
        |id| match (reference.columns.get(id), again.columns.get(id)) {
            (Some(said), Some(found)) => said == found,
            (Some(one), None) | (None, Some(one)) => absent(id).as_ref() == Some(one),
            (None, None) => true,
        },
    )
}
