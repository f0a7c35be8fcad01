//! An object store that misbehaves at exactly one chosen call.
//!
//! In: any object store and a plan (what, at which call, counting which kinds of calls). Out: the
//! same store, which follows the plan and says whether the plan was reached. Called by the anomaly
//! sweeps.
//!
//! Nothing here is random: with a single-threaded runtime the same plan meets the same call.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, UploadPart,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::operation::{Operation, Operations};

const NAME: &str = "FaultStore";

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; an error is answered.
    Before,
    /// The call is done; an error is answered.
    After,
    /// Nothing is done, and every later call of any kind fails, too: the store is gone.
    GoneBefore,
    /// The call is done, but it and every later call is answered with an error.
    GoneAfter,
    /// A create is done and answered with `AlreadyExists`, as a client that retries by itself
    /// reports a lost answer. Other calls: [`Fault::After`].
    LostCreate,
    /// A create is answered with `AlreadyExists` and stores nothing, as a server's 409 for two
    /// requests at once is reported. Other calls: [`Fault::Before`].
    FalseExists,
    /// A write is answered with an error and done just before the given number of later calls has
    /// been made. Other calls: [`Fault::Before`].
    Delayed(u32),
    /// The call never answers and nothing is done; for dropping the caller at this point.
    HangBefore,
    /// The call is done and never answers.
    HangAfter,
    /// A read delivers the first half of the bytes, then an error. Other calls: [`Fault::Before`].
    Torn,
    /// A read delivers the first half of the bytes and ends without an error. Other calls pass.
    Short,
    /// A read delivers one flipped bit. Other calls pass.
    Flipped,
}

impl Fault {
    /// The faults of writes that a sweep goes through.
    pub const SWEEP: [Self; 7] = [
        Self::Before,
        Self::After,
        Self::GoneBefore,
        Self::GoneAfter,
        Self::LostCreate,
        Self::FalseExists,
        Self::Delayed(1),
    ];
}

/// The call that met the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its kind.
    pub operation: Operation,
    /// Its path; a listing's prefix.
    pub path: String,
}

struct Plan {
    fault: Fault,
    at: u64,
    counted: Operations,
}

struct Pending {
    calls_left: u32,
    path: Path,
    payload: PutPayload,
    options: PutOptions,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    calls: u64,
    hit: Option<Hit>,
    gone: bool,
    pending: Option<Pending>,
}

/// A store that follows a fault plan; clones share it.
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
    met: Arc<Notify>,
}

/// What the gate decided for one call.
#[derive(Clone, Copy)]
enum Verdict {
    Pass,
    Gone,
    Meets(Fault),
}

impl FaultStore {
    /// Wraps a store; no fault is planned.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            state: Arc::default(),
            met: Arc::default(),
        }
    }

    /// Plans a fault for the `at`-th (from 1) call among the `counted` kinds, counting from here.
    pub fn plan(&self, fault: Fault, at: u64, counted: Operations) {
        let mut state = self.state.lock();
        state.plan = Some(Plan { fault, at, counted });
        state.calls = 0;
        state.hit = None;
        state.gone = false;
    }

    /// Ends the plan and heals the store; a write that is still delayed is done first.
    ///
    /// # Errors
    ///
    /// Those of the delayed write, which a caller may well expect (`AlreadyExists`).
    pub async fn heal(&self) -> Result<()> {
        let pending = {
            let mut state = self.state.lock();
            state.plan = None;
            state.gone = false;
            state.pending.take()
        };
        match pending {
            Some(p) => self
                .inner
                .put_opts(&p.path, p.payload, p.options)
                .await
                .map(drop),
            None => Ok(()),
        }
    }

    /// The calls of the counted kinds since the plan was made.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The call that met the fault, if one did.
    pub fn hit(&self) -> Option<Hit> {
        self.state.lock().hit.clone()
    }

    /// Returns once a call has met the fault.
    pub async fn met(&self) {
        loop {
            let notified = self.met.notified();
            if self.hit().is_some() {
                return;
            }
            notified.await;
        }
    }

    /// Counts a call, does what is due before it, and decides.
    async fn gate(&self, operation: Operation, path: &str) -> Verdict {
        let (verdict, due) = {
            let mut state = self.state.lock();
            let verdict = state.judge(operation, path);
            (verdict, state.due())
        };
        if matches!(verdict, Verdict::Meets(_)) {
            self.met.notify_waiters();
        }
        if let Some(late) = due {
            // Whatever comes of it, nobody waits for the answer any more.
            drop(
                self.inner
                    .put_opts(&late.path, late.payload, late.options)
                    .await,
            );
        }
        verdict
    }

    /// Runs a call that is not a put under its verdict.
    async fn run<T>(
        &self,
        operation: Operation,
        path: &str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self.gate(operation, path).await {
            Verdict::Pass => call.await,
            Verdict::Gone => Err(injected("gone")),
            Verdict::Meets(fault) => match fault {
                Fault::Short | Fault::Flipped => call.await,
                Fault::After | Fault::GoneAfter | Fault::LostCreate => {
                    call.await?;
                    Err(injected("answer lost"))
                }
                Fault::HangBefore => futures::future::pending().await,
                Fault::HangAfter => {
                    call.await?;
                    futures::future::pending().await
                }
                _ => Err(injected("refused")),
            },
        }
    }
}

impl State {
    fn judge(&mut self, operation: Operation, path: &str) -> Verdict {
        if self.gone {
            return Verdict::Gone;
        }
        let Some(plan) = &self.plan else {
            return Verdict::Pass;
        };
        if !plan.counted.contains(operation) {
            return Verdict::Pass;
        }
        self.calls += 1;
        if self.calls != plan.at {
            return Verdict::Pass;
        }
        self.hit = Some(Hit {
            operation,
            path: path.to_owned(),
        });
        self.gone = matches!(plan.fault, Fault::GoneBefore | Fault::GoneAfter);
        Verdict::Meets(plan.fault)
    }

    fn due(&mut self) -> Option<Pending> {
        let pending = self.pending.as_mut()?;
        pending.calls_left = pending.calls_left.saturating_sub(1);
        if pending.calls_left == 0 {
            self.pending.take()
        } else {
            None
        }
    }
}

fn injected(what: &'static str) -> Error {
    Error::Generic {
        store: NAME,
        source: format!("injected fault: {what}").into(),
    }
}

fn exists(path: &Path) -> Error {
    Error::AlreadyExists {
        path: path.to_string(),
        source: "injected fault".into(),
    }
}

/// The kind of a put by its mode.
pub(crate) fn put_operation(mode: &PutMode) -> Operation {
    match mode {
        PutMode::Create => Operation::Create,
        PutMode::Overwrite | PutMode::Update(_) => Operation::Put,
    }
}

/// The kind of a get by its options.
pub(crate) fn get_operation(options: &GetOptions) -> Operation {
    if options.head {
        Operation::Head
    } else {
        Operation::Get
    }
}

/// What a listing shows as its path.
pub(crate) fn prefix_path(prefix: Option<&Path>) -> String {
    prefix.map(ToString::to_string).unwrap_or_default()
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(NAME)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let operation = put_operation(&opts.mode);
        let create = operation == Operation::Create;
        let path = location.as_ref();
        let fault = match self.gate(operation, path).await {
            Verdict::Pass => return self.inner.put_opts(location, payload, opts).await,
            Verdict::Gone => return Err(injected("gone")),
            Verdict::Meets(fault) => fault,
        };
        match fault {
            Fault::Short | Fault::Flipped => self.inner.put_opts(location, payload, opts).await,
            Fault::LostCreate if create => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(exists(location))
            }
            Fault::FalseExists if create => Err(exists(location)),
            Fault::Delayed(calls) => {
                self.state.lock().pending = Some(Pending {
                    calls_left: calls.max(1),
                    path: location.clone(),
                    payload,
                    options: opts,
                });
                Err(injected("answer lost before the write was done"))
            }
            Fault::After | Fault::GoneAfter | Fault::LostCreate => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(injected("answer lost"))
            }
            Fault::HangBefore => futures::future::pending().await,
            Fault::HangAfter => {
                self.inner.put_opts(location, payload, opts).await?;
                futures::future::pending().await
            }
            Fault::Before | Fault::GoneBefore | Fault::FalseExists | Fault::Torn => {
                Err(injected("refused"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let start = self.inner.put_multipart_opts(location, opts);
        let inner = self
            .run(Operation::Multipart, location.as_ref(), start)
            .await?;
        Ok(Box::new(FaultUpload {
            store: self.clone(),
            path: location.to_string(),
            inner,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = get_operation(&options);
        let fault = match self.gate(operation, location.as_ref()).await {
            Verdict::Pass => return self.inner.get_opts(location, options).await,
            Verdict::Gone => return Err(injected("gone")),
            Verdict::Meets(fault) => fault,
        };
        match fault {
            Fault::HangBefore | Fault::HangAfter => futures::future::pending().await,
            Fault::Torn | Fault::Short | Fault::Flipped if operation == Operation::Get => {
                damage(self.inner.get_opts(location, options).await?, fault).await
            }
            Fault::Short | Fault::Flipped => self.inner.get_opts(location, options).await,
            _ => Err(injected("refused")),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // Each coalesced range is a call of its own, as it is against a real server.
        object_store::coalesce_ranges(
            ranges,
            |range| async {
                let asked = range.end - range.start;
                let options = GetOptions::new().with_range(Some(range));
                let bytes = self.get_opts(location, options).await?.bytes().await?;
                // Parts are cut out of an answer, so a client must not take one that lacks some.
                if ranges.len() > 1 && (bytes.len() as u64) < asked {
                    return Err(injected("short"));
                }
                Ok(bytes)
            },
            object_store::OBJECT_STORE_COALESCE_DEFAULT,
        )
        .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |path| {
                let store = store.clone();
                async move {
                    let path = path?;
                    let one = stream::once(futures::future::ready(Ok(path.clone()))).boxed();
                    let mut answers = store.inner.delete_stream(one);
                    let call = async { answers.next().await.unwrap_or(Ok(path.clone())) };
                    store.run(Operation::Delete, path.as_ref(), call).await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let start = async move {
            let path = prefix_path(prefix.as_ref());
            let call = futures::future::ready(Ok(()));
            match store.run(Operation::Walk, &path, call).await {
                Ok(()) => store.inner.list(prefix.as_ref()),
                Err(e) => stream::once(futures::future::ready(Err(e))).boxed(),
            }
        };
        stream::once(start).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let call = self.inner.list_with_delimiter(prefix);
        self.run(Operation::List, &prefix_path(prefix), call).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run(
            Operation::Copy,
            to.as_ref(),
            self.inner.copy_opts(from, to, options),
        )
        .await
    }
}

/// Reads what the store answered and answers with less, or with something else.
async fn damage(answer: GetResult, fault: Fault) -> Result<GetResult> {
    let (meta, range, attributes) = (
        answer.meta.clone(),
        answer.range.clone(),
        answer.attributes.clone(),
    );
    let whole = answer.bytes().await?;
    let half = whole.len() / 2;
    let pieces = match fault {
        Fault::Flipped => {
            let mut changed = whole.to_vec();
            if let Some(byte) = changed.get_mut(half) {
                *byte ^= 1;
            }
            vec![Ok(Bytes::from(changed))]
        }
        Fault::Torn => vec![Ok(whole.slice(..half)), Err(injected("connection closed"))],
        _ => vec![Ok(whole.slice(..half))],
    };
    let payload = GetResultPayload::Stream(stream::iter(pieces).boxed());
    Ok(GetResult {
        payload,
        meta,
        range,
        attributes,
    })
}

#[derive(Debug)]
struct FaultUpload {
    store: FaultStore,
    path: String,
    inner: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let (store, path) = (self.store.clone(), self.path.clone());
        Box::pin(async move { store.run(Operation::Multipart, &path, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let complete = self.inner.complete();
        self.store
            .run(Operation::Multipart, &self.path, complete)
            .await
    }

    async fn abort(&mut self) -> Result<()> {
        let abort = self.inner.abort();
        self.store
            .run(Operation::Multipart, &self.path, abort)
            .await
    }
}

#[cfg(test)]
mod tests;
