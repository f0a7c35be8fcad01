//! What is made of lost, false and late answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, MultipartUpload, ObjectMeta, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};

use super::*;

/// What goes wrong with a put.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It is not stored, and the answer is a failure.
    Lost,
    /// It is stored, and the answer is a failure.
    AnswerLost,
    /// It is stored, and the answer is that it exists.
    AnswerExists,
    /// It is not stored, and the answer is that it exists.
    NothingExists,
    /// Its condition is ignored.
    Unconditional,
}

/// A store whose first `times` puts go wrong.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    fault: Fault,
    times: AtomicUsize,
    /// What a read claims to have found; its body never ends.
    claimed: Option<u64>,
    /// How many pieces of such bodies were asked for.
    pulled: Arc<AtomicUsize>,
}

fn backend(fault: Fault, times: usize) -> Faulty {
    Faulty {
        inner: InMemory::new(),
        fault,
        times: AtomicUsize::new(times),
        claimed: None,
        pulled: Arc::default(),
    }
}

fn faulty(fault: Fault, times: usize) -> Store {
    Store::wrap(Arc::new(backend(fault, times)), "", &uncached()).unwrap()
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> StoreResult<PutResult> {
        let due = |left: usize| left.checked_sub(1);
        if self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, due)
            .is_err()
        {
            return self.inner.put_opts(location, payload, opts).await;
        }
        let lost = || object_store::Error::Generic {
            store: "faulty",
            source: "timeout".into(),
        };
        let exists = || object_store::Error::AlreadyExists {
            path: location.to_string(),
            source: "409".into(),
        };
        match self.fault {
            Fault::Lost => Err(lost()),
            Fault::NothingExists => Err(exists()),
            Fault::AnswerLost => self
                .inner
                .put_opts(location, payload, opts)
                .await
                .and(Err(lost())),
            Fault::AnswerExists => self
                .inner
                .put_opts(location, payload, opts)
                .await
                .and(Err(exists())),
            Fault::Unconditional => {
                opts.mode = PutMode::Overwrite;
                self.inner.put_opts(location, payload, opts).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        let Some(size) = self.claimed else {
            return self.inner.get_opts(location, options).await;
        };
        let pulled = Arc::clone(&self.pulled);
        let body = stream::repeat_with(move || {
            pulled.fetch_add(1, Ordering::SeqCst);
            Ok(Bytes::from_static(&[0; 1024]))
        });
        Ok(GetResult {
            payload: GetResultPayload::Stream(body.boxed()),
            meta: ObjectMeta {
                location: location.clone(),
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size,
                e_tag: None,
                version: None,
            },
            range: 0..size,
            attributes: Default::default(),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_create_is_found_out() {
    for fault in [
        Fault::Lost,
        Fault::AnswerLost,
        Fault::AnswerExists,
        Fault::NothingExists,
    ] {
        let store = faulty(fault, 1);
        let main = name("main");
        let created = store
            .create_record(BRANCH, &main, RecordNumber(0), text("mine"))
            .await
            .unwrap();
        assert_eq!(created, Created::Mine, "{fault:?}");
        assert_eq!(
            store
                .get_record(BRANCH, &main, RecordNumber(0))
                .await
                .unwrap(),
            Some(text("mine"))
        );
        let other = store
            .create_record(BRANCH, &main, RecordNumber(0), text("other"))
            .await
            .unwrap();
        assert_eq!(other, Created::Other(text("mine")), "{fault:?}");
    }
}

#[tokio::test]
async fn a_create_that_nobody_can_tell_about_is_indeterminate() {
    for fault in [Fault::Lost, Fault::NothingExists] {
        let store = faulty(fault, usize::MAX);
        let created = store
            .create_record(BRANCH, &name("main"), RecordNumber(0), text("mine"))
            .await;
        assert_eq!(
            created.unwrap_err().kind(),
            ErrorKind::Indeterminate,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn passing_failures_of_idempotent_writes_are_retried_and_lasting_ones_are_unavailable() {
    for fault in [Fault::Lost, Fault::AnswerLost] {
        let store = faulty(fault, 2);
        let object = store.put_object(Epoch(0), text("x")).await.unwrap();
        assert_eq!(store.get_object(&object).await.unwrap(), text("x"));
        let error = faulty(fault, usize::MAX)
            .put_object(Epoch(0), text("x"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn the_probe_refuses_a_store_that_ignores_conditions_and_bears_lost_answers() {
    let error = faulty(Fault::Unconditional, usize::MAX)
        .probe()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    for fault in [Fault::Lost, Fault::AnswerLost, Fault::AnswerExists] {
        for times in [1, 8, 9] {
            faulty(fault, times).probe().await.unwrap();
        }
    }
    let error = faulty(Fault::Lost, usize::MAX).probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_body_without_end_is_not_read_past_what_the_reference_says() {
    for (claimed, pieces_max) in [(3 * 1024, 5), (4, 5), (u64::MAX, 0)] {
        let mut liar = backend(Fault::Lost, 0);
        liar.claimed = Some(claimed);
        let pulled = Arc::clone(&liar.pulled);
        let store = Store::wrap(Arc::new(liar), "", &uncached()).unwrap();
        let object = ObjectRef {
            digest: Digest::of(b"x"),
            epoch: Epoch(0),
            bytes: 3 * 1024,
            within: None,
        };
        let error = store.get_object(&object).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(pulled.swap(0, Ordering::SeqCst) <= pieces_max);
        let error = store.verify_data_file(table(), &object).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(pulled.swap(0, Ordering::SeqCst) <= pieces_max);
        let error = store
            .get_record(BRANCH, &name("main"), RecordNumber(0))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(pulled.load(Ordering::SeqCst) <= 1026);
    }
}
