//! From what a person calls a store to the store.
//!
//! In: a path or a URL, and options. Out: a backend and the prefix below which the repository is.
//! Called by `mod`. A builder is never shown or logged: its `Debug` prints the secrets.

use std::path::Path as FolderPath;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::error::{Error, Result};

use super::StoreOptions;
use super::failure::{explain, redact};
use super::local::LocalStore;

/// How often the client repeats one request.
const CLIENT_RETRIES_MAX: usize = 3;
/// For how long the client repeats one request.
const CLIENT_RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a location leads to.
pub(super) struct Opened {
    pub(super) backend: Arc<dyn ObjectStore>,
    pub(super) local: Option<Arc<LocalStore>>,
    pub(super) prefix: Path,
    pub(super) location: String,
}

pub(super) fn open(location: &str, options: &StoreOptions) -> Result<Opened> {
    if !location.contains("://") {
        return local(FolderPath::new(location), location.to_owned(), options);
    }
    let invalid = |why: &str| Error::invalid(why).with("location", redact(location));
    let url = Url::parse(location).map_err(|e| invalid("not a URL").with_source(e))?;
    // The container of an Azure URL stands where others have a user.
    let azure = matches!(url.scheme(), "az" | "adl" | "azure" | "abfs" | "abfss");
    if url.password().is_some() || (!azure && !url.username().is_empty()) {
        return Err(invalid("credentials do not belong into a URL")
            .with_hint("pass them as options or in the environment"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a location has no query and no fragment")
            .with_hint("pass what it says as options or in the environment"));
    }
    if url.scheme() == "file" {
        let path = url
            .to_file_path()
            .map_err(|()| invalid("not the URL of a folder"))?;
        return local(&path, location.to_owned(), options);
    }
    let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|_| {
        Error::unsupported("no store for this URL").with("location", redact(location))
    })?;
    let backend = backend(&scheme, &url, options)?;
    Ok(Opened {
        backend,
        local: None,
        prefix,
        location: redact(location),
    })
}

fn local(path: &FolderPath, location: String, options: &StoreOptions) -> Result<Opened> {
    if path.as_os_str().is_empty() {
        return Err(Error::invalid("location is empty"));
    }
    let local = Arc::new(LocalStore::new(path, options.durability)?);
    let backend = Arc::clone(&local) as Arc<dyn ObjectStore>;
    Ok(Opened {
        backend,
        local: Some(local),
        prefix: Path::default(),
        location,
    })
}

fn backend(
    scheme: &ObjectStoreScheme,
    url: &Url,
    options: &StoreOptions,
) -> Result<Arc<dyn ObjectStore>> {
    let refused = |e: object_store::Error| {
        let explained = explain(&e, &Path::default());
        Error::invalid("the store cannot be set up with these options")
            .with("location", redact(url.as_str()))
            .with_source(explained)
    };
    match scheme {
        ObjectStoreScheme::Memory => Ok(Arc::new(InMemory::new())),
        ObjectStoreScheme::AmazonS3 => {
            let builder = AmazonS3Builder::from_env().with_url(url.as_str());
            let mut builder = builder.with_retry(client_retry());
            for (key, value) in &options.options {
                builder = builder.with_config(parse_key::<AmazonS3ConfigKey>(key)?, value);
            }
            Ok(Arc::new(builder.build().map_err(refused)?))
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str());
            let mut builder = builder.with_retry(client_retry());
            for (key, value) in &options.options {
                builder = builder.with_config(parse_key::<GoogleConfigKey>(key)?, value);
            }
            Ok(Arc::new(builder.build().map_err(refused)?))
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str());
            let mut builder = builder.with_retry(client_retry());
            for (key, value) in &options.options {
                builder = builder.with_config(parse_key::<AzureConfigKey>(key)?, value);
            }
            Ok(Arc::new(builder.build().map_err(refused)?))
        }
        _ => {
            Err(Error::unsupported("no store for this URL").with("location", redact(url.as_str())))
        }
    }
}

/// How the client repeats requests by itself; `retry` repeats its calls on top of that.
fn client_retry() -> RetryConfig {
    RetryConfig {
        max_retries: CLIENT_RETRIES_MAX,
        retry_timeout: CLIENT_RETRY_TIMEOUT,
        ..RetryConfig::default()
    }
}

/// The option called `key`; its value stays out of the error.
fn parse_key<K: std::str::FromStr>(key: &str) -> Result<K> {
    key.to_ascii_lowercase()
        .parse()
        .map_err(|_| Error::invalid("unknown store option").with("option", key))
}
