//! Reading and extending the log of a ref.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use parking_lot::Mutex;

use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BranchPoint, RecordKind, RefRecord, decode, encode};
use crate::id::{Epoch, RecordNumber, TransactionId, Version};
use crate::name::RefName;
use crate::store::{Created, RefKind, Store};

use super::Point;

/// Every how many records the hint is renewed: a cold reader probes at most about this far.
const HINT_EVERY: u64 = 8;
/// How many records from the hint on a cold reader asks for at once. A hint is renewed beside the
/// record that follows the one it names, so the head is at most [`HINT_EVERY`] past it, unless the
/// hint was not written.
const PROBES: u64 = HINT_EVERY + 2;
/// The most heads that a process remembers.
const HEADS_MAX: usize = 4_096;

/// The logs of all refs of a repository; clones share what they have seen.
#[derive(Debug, Clone)]
pub struct RefLog {
    store: Store,
    env: Env,
    /// The newest record seen of each ref: a lower bound, since records are never deleted.
    heads: Arc<Mutex<Heads>>,
    /// What was found of each ref, where every one is looked up once.
    moment: Option<Arc<Mutex<Found>>>,
}

/// Newest records by kind and folded name.
type Heads = BTreeMap<(RefKind, String), Arc<RefRecord>>;
/// Newest records, and refs that do not exist.
type Found = BTreeMap<(RefKind, String), Option<Arc<RefRecord>>>;

/// How an append ended.
#[derive(Debug)]
#[must_use]
pub enum Appended {
    /// The record is published.
    Published(Arc<RefRecord>),
    /// Another record has this version.
    Lost(Arc<RefRecord>),
}

impl RefLog {
    /// The logs in `store`.
    pub fn new(store: Store, env: Env) -> Self {
        Self {
            store,
            env,
            heads: Arc::default(),
            moment: None,
        }
    }

    /// The same logs for who only reads: each ref is looked up once, and later looks find the same.
    pub(crate) fn at_one_moment(&self) -> Self {
        Self {
            moment: Some(Arc::default()),
            ..self.clone()
        }
    }

    /// The newest record of a ref, which may be its deletion; `None` if it never existed.
    ///
    /// Costs one request for a ref that this process has seen and that has not moved since; else
    /// the hint and a number of requests logarithmic in how far the ref has moved past it.
    ///
    /// # Errors
    ///
    /// `Unavailable`, or `Corrupt` if a record does not validate.
    pub async fn newest(&self, kind: RefKind, name: &RefName) -> Result<Option<Arc<RefRecord>>> {
        let Some(moment) = &self.moment else {
            return self.find_newest(kind, name).await;
        };
        let key = (kind, name.folded());
        let known = moment.lock().get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = self.find_newest(kind, name).await?;
        // Of two that looked at once, the first to come back counts for both.
        Ok(moment.lock().entry(key).or_insert(found).clone())
    }

    async fn find_newest(&self, kind: RefKind, name: &RefName) -> Result<Option<Arc<RefRecord>>> {
        if let Some(seen) = self.seen(kind, name) {
            return self.gallop(kind, name, seen).await.map(Some);
        }
        let hint = match self.store.get_hint(kind, name).await? {
            Some(hint) => Some(hint),
            None => self.store.last_record(kind, name).await?,
        };
        let Some(hint) = hint else { return Ok(None) };
        let probes = (0..PROBES)
            .filter_map(|distance| hint.0.checked_add(distance))
            .map(RecordNumber);
        let records = try_join_all(probes.map(|n| self.record(kind, name, n))).await?;
        let absent = records.iter().position(Option::is_none);
        let found = absent.unwrap_or(records.len());
        let Some(newest) = records.into_iter().take(found).next_back().flatten() else {
            // The hint is damaged: what is there counts.
            let Some(last) = self.store.last_record(kind, name).await? else {
                return Ok(None);
            };
            let Some(newest) = self.record(kind, name, last).await? else {
                return Err(Error::corrupt("a ref log lacks a record that was listed")
                    .with("ref", name)
                    .with("record", last));
            };
            return self.gallop(kind, name, newest).await.map(Some);
        };
        self.remember(kind, name, &newest);
        if absent.is_some() {
            // The record after the newest was asked for and is not there.
            return Ok(Some(newest));
        }
        self.gallop(kind, name, newest).await.map(Some)
    }

    /// The newest record of a ref that exists.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist or was deleted; else as [`RefLog::newest`].
    pub async fn head(&self, kind: RefKind, name: &RefName) -> Result<Arc<RefRecord>> {
        match self.newest(kind, name).await? {
            Some(record) if record.kind != RecordKind::Delete => Ok(record),
            _ => Err(self.no_such_ref(kind, name).await),
        }
    }

    /// One record of a ref; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// `Unavailable`, or `Corrupt` if the record does not validate or belongs elsewhere.
    pub async fn record(
        &self,
        kind: RefKind,
        name: &RefName,
        number: RecordNumber,
    ) -> Result<Option<Arc<RefRecord>>> {
        let Some(bytes) = self.store.get_record(kind, name, number).await? else {
            return Ok(None);
        };
        decode_record(&bytes, name, number).map(Arc::new).map(Some)
    }

    /// Names of all refs that exist, with their newest records, in order of name.
    ///
    /// # Errors
    ///
    /// `Unavailable`, or `Corrupt` if a record does not validate.
    pub async fn list(&self, kind: RefKind) -> Result<Vec<Arc<RefRecord>>> {
        use futures::{StreamExt as _, TryStreamExt as _};
        let names = self.store.list_refs(kind).await?;
        let newest = futures::stream::iter(names)
            .map(|name| async move { self.newest(kind, &name).await })
            .buffered(16)
            .try_collect::<Vec<_>>()
            .await?;
        let mut records = newest
            .into_iter()
            .flatten()
            .filter(|record| record.kind != RecordKind::Delete)
            .collect::<Vec<_>>();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }

    /// Publishes `record`, whose number follows that of `below`; there is none below the first.
    ///
    /// 1. The record is created if its number is free; a plain success is final.
    /// 2. Any other answer is checked by reading the record back: our bytes mean success,
    ///    another's that the race is lost, none that it must be created again.
    /// 3. If that cannot be found out, a fence is put in its place, so that a create that is
    ///    still under way cannot land: then nothing was published, for certain.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nothing was published; `Indeterminate` if it is unknown.
    pub async fn append(
        &self,
        kind: RefKind,
        below: Option<&RefRecord>,
        record: RefRecord,
    ) -> Result<Appended> {
        let name = record.name.clone();
        let number = record.number();
        let bytes = encode(&record)?;
        let first = record.kind == RecordKind::Create;
        // A name that is new has a hint already: the claim.
        let reused = self.seen(kind, &name).is_some();
        let renew = number.0.is_multiple_of(HINT_EVERY) && !first;
        // The hint names the record below, which exists whatever becomes of this record, so it
        // costs no round trip of its own. A hint that cannot be written is no failure.
        let hint = async {
            if renew {
                self.store
                    .put_hint(kind, &name, RecordNumber(number.0 - 1))
                    .await
                    .ok();
            }
        };
        let create = self.store.create_record(kind, &name, number, bytes.clone());
        let (created, ()) = futures::join!(create, hint);
        let created = match created {
            Err(error) if error.kind() == ErrorKind::Indeterminate => {
                self.fence(kind, below, &record, bytes, error).await?
            }
            other => other?,
        };
        match created {
            Created::Mine => {
                let record = Arc::new(record);
                self.remember(kind, &name, &record);
                if first && reused {
                    self.store.put_hint(kind, &name, number).await.ok();
                }
                Ok(Appended::Published(record))
            }
            Created::Other(bytes) => {
                let other = Arc::new(decode_record(&bytes, &name, number)?);
                self.remember(kind, &name, &other);
                Ok(Appended::Lost(other))
            }
        }
    }

    /// A record that follows `below` and moves nothing; the base of every record but the first.
    pub(crate) fn following(&self, below: &RefRecord, kind: RecordKind) -> Result<RefRecord> {
        Ok(RefRecord {
            name: below.name.clone(),
            version: below.version.next()?,
            skipped: below.skipped,
            kind,
            head: below.head,
            commits: Vec::new(),
            transactions: vec![self.env.transaction_id()],
            at: self.env.now().max(below.at),
            epoch: below.epoch,
            started_at: below.started_at,
            from: below.from.clone(),
        })
    }

    /// Creates a ref at `point`, which is the state `from` if that is given; a name that was used
    /// before goes on counting, and skips what lies below `from`, so that all versions of the state
    /// it starts from can be read on it.
    ///
    /// Of several that create one name at once, one succeeds. They may start from different
    /// versions, and records of different numbers do not get in each other's way, so a name that
    /// was never used takes two steps:
    ///
    /// 1. The hint is created with the number to start at, if there is none. Whoever comes later
    ///    finds it and starts at that number, too; so does whoever comes after a client that
    ///    died here.
    /// 2. The record of that number is created, by one of them.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; else as [`RefLog::append`].
    pub async fn create(
        &self,
        kind: RefKind,
        name: &RefName,
        point: &Point,
        from: Option<BranchPoint>,
        epoch: Epoch,
    ) -> Result<Arc<RefRecord>> {
        let taken = || {
            Error::already_exists(format!("the {} exists already", kind.noun())).with("name", name)
        };
        let below = self.newest(kind, name).await?;
        // A branch reads on from where it starts.
        let wanted = from.as_ref().map_or(Version(0), |from| from.version);
        let (number, version, after) = match &below {
            Some(below) if below.kind != RecordKind::Delete => return Err(taken()),
            Some(below) => {
                let next = below.version.next()?;
                (below.number_of(next), next, below.at.max(point.at))
            }
            None => {
                let number = RecordNumber(wanted.0);
                let number = self.store.claim_hint(kind, name, number).await?;
                (number, Version(number.0), point.at)
            }
        };
        let version = version.max(wanted);
        let record = RefRecord {
            name: name.clone(),
            version,
            skipped: version.0 - number.0,
            kind: RecordKind::Create,
            head: Some(point.commit),
            commits: Vec::new(),
            transactions: vec![self.env.transaction_id()],
            // Not before the state it starts from, so that times never decrease from there on.
            at: self.env.now().max(after),
            epoch,
            started_at: version,
            from,
        };
        match self.append(kind, below.as_deref(), record).await? {
            Appended::Published(record) => Ok(record),
            Appended::Lost(_) => Err(taken()),
        }
    }

    /// Deletes a ref: its records stay, and its name goes on counting.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Conflict` if it moved meanwhile; else as [`RefLog::append`].
    pub async fn delete(&self, kind: RefKind, name: &RefName) -> Result<()> {
        let head = self.head(kind, name).await?;
        let record = RefRecord {
            head: None,
            ..self.following(&head, RecordKind::Delete)?
        };
        match self.append(kind, Some(&head), record).await? {
            Appended::Published(_) => Ok(()),
            Appended::Lost(_) => Err(Error::conflict("the ref moved while it was being dropped")
                .with("name", name)
                .with_hint("look at it and drop it again")),
        }
    }

    /// The record that published a transaction on a ref, in any of its lives; reads the log from
    /// its end, as far as that record.
    ///
    /// # Errors
    ///
    /// `Unavailable`, or `Corrupt` if a record does not validate.
    pub async fn find_transaction(
        &self,
        kind: RefKind,
        name: &RefName,
        id: TransactionId,
    ) -> Result<Option<Arc<RefRecord>>> {
        match self.newest(kind, name).await? {
            Some(newest) => self.find_below(kind, &newest, id).await,
            None => Ok(None),
        }
    }

    /// As [`RefLog::find_transaction`] on a branch, and so that what is not found can never come:
    /// its writer must have given up.
    ///
    /// A create of a commit that is still under way somewhere is for the record after the newest
    /// one or for an older one, since its writer had seen all those before it. A fence in that
    /// place, or whatever is there by then, shuts it out.
    ///
    /// # Errors
    ///
    /// `NotFound` if it is not found and the branch does not exist; else as [`RefLog::append`].
    pub async fn settle_transaction(
        &self,
        name: &RefName,
        id: TransactionId,
    ) -> Result<Option<Arc<RefRecord>>> {
        let Some(newest) = self.newest(RefKind::Branch, name).await? else {
            return Err(self.no_such_ref(RefKind::Branch, name).await);
        };
        if let Some(found) = self.find_below(RefKind::Branch, &newest, id).await? {
            return Ok(Some(found));
        }
        if newest.kind == RecordKind::Delete {
            return Err(self.no_such_ref(RefKind::Branch, name).await);
        }
        let fence = self.following(&newest, RecordKind::Fence)?;
        let branch = RefKind::Branch;
        match self.append(branch, Some(&newest), fence).await? {
            Appended::Lost(other) if other.transactions.contains(&id) => Ok(Some(other)),
            Appended::Lost(_) | Appended::Published(_) => Ok(None),
        }
    }

    async fn find_below(
        &self,
        kind: RefKind,
        newest: &RefRecord,
        id: TransactionId,
    ) -> Result<Option<Arc<RefRecord>>> {
        use futures::{StreamExt as _, TryStreamExt as _};
        let numbers = (0..=newest.number().0).rev().map(RecordNumber);
        let mut records = futures::stream::iter(numbers)
            .map(|number| self.record(kind, &newest.name, number))
            .buffered(16);
        while let Some(Some(record)) = records.try_next().await? {
            if record.transactions.contains(&id) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    async fn fence(
        &self,
        kind: RefKind,
        below: Option<&RefRecord>,
        record: &RefRecord,
        bytes: Bytes,
        error: Error,
    ) -> Result<Created> {
        let unknown = |error: Error| {
            let (id, name) = (record.transactions[0], &record.name);
            let ask = match kind {
                RefKind::Branch => format!("udr txn {id} --branch {name}"),
                RefKind::Tag => format!("udr txn {id}"),
            };
            Error::indeterminate("whether the change was published is unknown")
                .with("transaction", id)
                .with("ref", name)
                .with_hint(format!("once the store answers again, `{ask}` finds out"))
                .with_source(error)
        };
        if record.kind == RecordKind::Create || record.kind == RecordKind::Delete {
            // Nothing below to fence on, or a fence would have to keep the head alive.
            return Err(unknown(error));
        }
        let Some(below) = below else {
            return Err(unknown(error));
        };
        let fence = self.following(below, RecordKind::Fence)?;
        match self
            .store
            .create_record(kind, &record.name, record.number(), encode(&fence)?)
            .await
        {
            Ok(Created::Mine) => Err(
                Error::unavailable("the store failed, nothing was published")
                    .with("ref", &record.name)
                    .with_source(error),
            ),
            Ok(Created::Other(found)) if found == bytes => Ok(Created::Mine),
            Ok(other) => Ok(other),
            Err(error) => Err(unknown(error)),
        }
    }

    /// The newest record from `from` on.
    async fn gallop(
        &self,
        kind: RefKind,
        name: &RefName,
        from: Arc<RefRecord>,
    ) -> Result<Arc<RefRecord>> {
        let mut newest = from;
        let mut step = 1u64;
        // Doubling until a record is absent …
        let mut absent = loop {
            let number = newest.number().0.saturating_add(step);
            if number > RecordNumber::MAX.0 {
                break number;
            }
            match self.record(kind, name, RecordNumber(number)).await? {
                Some(record) => newest = record,
                None => break number,
            }
            step = step.saturating_mul(2);
        };
        // … then halving in between: records are dense (invariant 2).
        while newest.number().0 + 1 < absent {
            let middle = newest.number().0 + (absent - newest.number().0) / 2;
            match self.record(kind, name, RecordNumber(middle)).await? {
                Some(record) => newest = record,
                None => absent = middle,
            }
        }
        self.remember(kind, name, &newest);
        Ok(newest)
    }

    async fn no_such_ref(&self, kind: RefKind, name: &RefName) -> Error {
        let error = Error::not_found(format!("no such {}", kind.noun())).with("name", name);
        let Ok(names) = self.store.list_refs(kind).await else {
            return error;
        };
        match crate::error::nearest(name.as_str(), names.iter().map(RefName::as_str)) {
            Some(nearest) => error.with_hint(format!("did you mean `{nearest}`?")),
            None => error,
        }
    }

    fn seen(&self, kind: RefKind, name: &RefName) -> Option<Arc<RefRecord>> {
        self.heads.lock().get(&(kind, name.folded())).cloned()
    }

    fn remember(&self, kind: RefKind, name: &RefName, record: &Arc<RefRecord>) {
        let mut heads = self.heads.lock();
        let key = (kind, name.folded());
        match heads.get(&key) {
            Some(seen) if seen.version >= record.version => {}
            _ => {
                if heads.len() >= HEADS_MAX {
                    heads.pop_first();
                }
                heads.insert(key, Arc::clone(record));
            }
        }
    }
}

fn decode_record(bytes: &[u8], name: &RefName, number: RecordNumber) -> Result<RefRecord> {
    let at = |error: Error| error.with("ref", name).with("record", number);
    let record = decode::<RefRecord>(bytes).map_err(at)?;
    if record.number() != number || record.name.folded() != name.folded() {
        return Err(at(Error::corrupt(
            "a ref record stands where another belongs",
        )));
    }
    Ok(record)
}
