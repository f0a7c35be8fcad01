//! An object store that remembers its calls.
//!
//! In: any object store and a latency. Out: the same store, which records each call with the moment
//! it started and ended, so that a test can ask how many there were and how many had to wait for
//! each other. Called by the request budget tests.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

use crate::fault::{get_operation, prefix_path, put_operation};
use crate::operation::{Operation, Operations};

/// One finished call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its kind.
    pub operation: Operation,
    /// Its path; a listing's prefix.
    pub path: String,
    /// The bytes it carried to the store, or that were asked of it.
    pub bytes: u64,
    /// Whether the store answered with success.
    pub ok: bool,
    started: u64,
    ended: u64,
}

/// The calls between two moments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls(Vec<Call>);

impl Calls {
    /// The calls in the order in which they ended.
    pub fn iter(&self) -> std::slice::Iter<'_, Call> {
        self.0.iter()
    }

    /// How many there were of the given kinds.
    pub fn count(&self, operations: Operations) -> usize {
        self.iter()
            .filter(|c| operations.contains(c.operation))
            .count()
    }

    /// The bytes that calls of the given kinds carried.
    pub fn bytes(&self, operations: Operations) -> u64 {
        self.iter()
            .filter(|c| operations.contains(c.operation))
            .map(|c| c.bytes)
            .sum()
    }

    /// Those whose path contains `part`.
    #[must_use]
    pub fn on(&self, part: &str) -> Self {
        Self(
            self.iter()
                .filter(|c| c.path.contains(part))
                .cloned()
                .collect(),
        )
    }

    /// Those whose path does not contain `part`.
    #[must_use]
    pub fn not_on(&self, part: &str) -> Self {
        Self(
            self.iter()
                .filter(|c| !c.path.contains(part))
                .cloned()
                .collect(),
        )
    }

    /// Those of the given kinds.
    #[must_use]
    pub fn of(&self, operations: Operations) -> Self {
        Self(
            self.iter()
                .filter(|c| operations.contains(c.operation))
                .cloned()
                .collect(),
        )
    }

    /// The sequential round trips: the longest chain of calls of which each started after the one
    /// before had ended.
    ///
    /// Calls that could not wait for each other overlap as long as the store has a latency, so the
    /// chain is at most the chain of dependent calls, and calls made one by one for no reason count
    /// as what they cost. Taking the earliest end first is the classic greedy answer.
    pub fn depth(&self) -> usize {
        let mut calls: Vec<_> = self.iter().collect();
        calls.sort_by_key(|c| c.ended);
        let mut free_at = 0;
        let mut depth = 0;
        for call in calls {
            if call.started >= free_at {
                depth += 1;
                free_at = call.ended;
            }
        }
        depth
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.iter() {
            let answer = if c.ok { "" } else { " (error)" };
            writeln!(
                f,
                "{:>4}..{:<4} {:?} {} {} bytes{answer}",
                c.started, c.ended, c.operation, c.path, c.bytes
            )?;
        }
        Ok(())
    }
}

/// A store that records its calls; clones share the record.
#[derive(Clone)]
pub struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    latency: Duration,
    clock: Arc<AtomicU64>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl CountingStore {
    /// Wraps a store; every call takes at least `latency`.
    ///
    /// Without a latency a store in memory answers before its caller can ask anything else, and
    /// calls made together would look like a chain. Use a paused clock to not wait for it.
    pub fn new(inner: Arc<dyn ObjectStore>, latency: Duration) -> Self {
        Self {
            inner,
            latency,
            clock: Arc::new(AtomicU64::new(1)),
            calls: Arc::default(),
        }
    }

    /// Hands out the calls recorded since the last time, and forgets them.
    pub fn take(&self) -> Calls {
        Calls(std::mem::take(&mut self.calls.lock()))
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    async fn record<T>(
        &self,
        operation: Operation,
        path: &str,
        bytes: u64,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let started = self.tick();
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let answer = call.await;
        let (path, ok, ended) = (path.to_owned(), answer.is_ok(), self.tick());
        self.calls.lock().push(Call {
            operation,
            path,
            bytes,
            ok,
            started,
            ended,
        });
        answer
    }
}

impl fmt::Debug for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountingStore")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountingStore({})", self.inner)
    }
}

fn size(payload: &PutPayload) -> u64 {
    payload.content_length() as u64
}

#[async_trait]
impl ObjectStore for CountingStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let (operation, bytes) = (put_operation(&opts.mode), size(&payload));
        let call = self.inner.put_opts(location, payload, opts);
        self.record(operation, location.as_ref(), bytes, call).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let start = self.inner.put_multipart_opts(location, opts);
        let inner = self
            .record(Operation::Multipart, location.as_ref(), 0, start)
            .await?;
        Ok(Box::new(CountingUpload {
            store: self.clone(),
            path: location.to_string(),
            inner,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = get_operation(&options);
        let started = self.tick();
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let answer = self.inner.get_opts(location, options).await;
        let bytes = match &answer {
            Ok(got) if operation == Operation::Get => got.range.end - got.range.start,
            _ => 0,
        };
        let (path, ok, ended) = (location.to_string(), answer.is_ok(), self.tick());
        self.calls.lock().push(Call {
            operation,
            path,
            bytes,
            ok,
            started,
            ended,
        });
        answer
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        object_store::coalesce_ranges(
            ranges,
            |range| async {
                let options = GetOptions::new().with_range(Some(range));
                self.get_opts(location, options).await?.bytes().await
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
                    store
                        .record(Operation::Delete, path.as_ref(), 0, call)
                        .await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let start = async move {
            let path = prefix_path(prefix.as_ref());
            let call = futures::future::ready(Ok(()));
            match store.record(Operation::Walk, &path, 0, call).await {
                Ok(()) => store.inner.list(prefix.as_ref()),
                Err(e) => stream::once(futures::future::ready(Err(e))).boxed(),
            }
        };
        stream::once(start).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let call = self.inner.list_with_delimiter(prefix);
        self.record(Operation::List, &prefix_path(prefix), 0, call)
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let call = self.inner.copy_opts(from, to, options);
        self.record(Operation::Copy, to.as_ref(), 0, call).await
    }
}

#[derive(Debug)]
struct CountingUpload {
    store: CountingStore,
    path: String,
    inner: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for CountingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let bytes = size(&data);
        let part = self.inner.put_part(data);
        let (store, path) = (self.store.clone(), self.path.clone());
        Box::pin(async move { store.record(Operation::Multipart, &path, bytes, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let complete = self.inner.complete();
        self.store
            .record(Operation::Multipart, &self.path, 0, complete)
            .await
    }

    async fn abort(&mut self) -> Result<()> {
        let abort = self.inner.abort();
        self.store
            .record(Operation::Multipart, &self.path, 0, abort)
            .await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use futures::future::try_join_all;
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;

    use super::*;

    fn store() -> CountingStore {
        CountingStore::new(Arc::new(InMemory::new()), Duration::from_millis(2))
    }

    async fn put(store: &CountingStore, path: &str) -> Result<PutResult> {
        store
            .put(&Path::from(path), PutPayload::from_static(b"abc"))
            .await
    }

    #[tokio::test]
    async fn calls_made_together_are_one_round_trip() {
        let store = store();
        try_join_all(["a", "b", "c"].map(|p| put(&store, p)))
            .await
            .unwrap();
        let calls = store.take();
        assert_eq!(
            (calls.count(Operations::WRITES), calls.depth()),
            (3, 1),
            "{calls}"
        );
        assert_eq!(calls.bytes(Operations::ALL), 9);
    }

    #[tokio::test]
    async fn calls_that_wait_for_each_other_are_several() {
        let store = store();
        put(&store, "a").await.unwrap();
        try_join_all(["b", "c"].map(|p| put(&store, p)))
            .await
            .unwrap();
        store.get(&Path::from("a")).await.unwrap();
        let calls = store.take();
        assert_eq!(calls.depth(), 3, "{calls}");
        assert_eq!(calls.not_on("b").depth(), 3);
        assert_eq!(store.take(), Calls::default());
    }

    #[tokio::test]
    async fn listings_and_failures_are_seen() {
        let store = store();
        store.list(None).try_collect::<Vec<_>>().await.unwrap();
        store.list_with_delimiter(None).await.unwrap();
        store.head(&Path::from("missing")).await.unwrap_err();
        let calls = store.take();
        assert_eq!(calls.count(Operations::of(Operation::List)), 1);
        assert_eq!(calls.count(Operations::LISTINGS), 2);
        assert_eq!(calls.count(Operations::of(Operation::Head)), 1);
        assert!(calls.iter().any(|c| !c.ok));
    }
}
