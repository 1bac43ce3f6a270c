//! A bucket of object storage that speaks S3.
//!
//! An object is there whole or not at all, so that nothing is written under another name first. Nothing can be locked
//! there either: a manifest is put on the condition that there is none of its number, which one of two runs gets.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write},
    mem,
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use headwater_core::{Error, Kind, Result};
use object_store::{
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    client::{HttpError, HttpErrorKind},
    list::{PaginatedListOptions, PaginatedListStore},
    path::Path,
};
use tokio::runtime::{Builder, Handle, Runtime};
use url::{Host, Url};

use super::{
    bounded::Connector,
    manifest::{Manifest, is_part, manifest_name, manifest_sequence},
    storage::{FileStorage, Part},
};

/// The folder of everything that is not rows. No stream is called so.
const OURS: &str = "_headwater";
/// An object that is larger comes in pieces of this size, one after the other. The service wants 5 MiB at least.
const PIECE: usize = 8 << 20;
/// More objects than a manifest of the largest size counts.
const MAX_OBJECTS: usize = 1_100_000;
/// A service usually lists a thousand objects on a page.
const MAX_PAGES: usize = 2_200;
const MAX_RETRIES: usize = 5;
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);

/// A run that ends does not wait longer for the removal of what it gives up.
const ABORT_TIMEOUT: Duration = Duration::from_secs(3);

/// A bucket, and what the names of our objects begin with.
pub(crate) struct Bucket {
    service: Service,
    prefix: String,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
}

/// How parts and the place itself reach the service.
#[derive(Clone)]
struct Service {
    store: Arc<AmazonS3>,
    handle: Handle,
    /// For people.
    name: String,
}

impl Bucket {
    /// With what the environment variables of AWS say.
    pub fn from_environment(bucket: &str, prefix: &str) -> Result<Self> {
        let name = format!("s3://{bucket}/{prefix}");
        let key = needed(&["AWS_ACCESS_KEY_ID"], &name)?;
        let secret = needed(&["AWS_SECRET_ACCESS_KEY"], &name)?;
        let endpoint = variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        let region = match &endpoint {
            Some(_) => variable(&["AWS_REGION", "AWS_DEFAULT_REGION"])
                .unwrap_or_else(|| "us-east-1".to_owned()),
            None => needed(&["AWS_REGION", "AWS_DEFAULT_REGION"], &name)?,
        };
        let is_plain = endpoint.as_deref().map_or(Ok(false), is_plain_http)?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_access_key_id(key)
            .with_secret_access_key(secret)
            .with_allow_http(is_plain)
            .with_http_connector(Connector { is_plain })
            .with_retry(RetryConfig {
                max_retries: MAX_RETRIES,
                retry_timeout: RETRY_TIMEOUT,
                ..RetryConfig::default()
            });
        if let Some(token) = variable(&["AWS_SESSION_TOKEN"]) {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let unusable = |_| {
            invalid(format!(
                "{name} cannot be used; check the name of the bucket and the prefix"
            ))
        };
        Path::parse(prefix).map_err(|error| unusable(error.into()))?;
        let store = builder.build().map_err(unusable)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            Error::new(
                Kind::Unexpected,
                "no thread can be started for object storage",
            )
            .caused_by(error)
        })?;
        let handle = runtime.handle().clone();
        Ok(Self {
            service: Service {
                store: Arc::new(store),
                handle,
                name,
            },
            prefix: prefix.to_owned(),
            runtime: Some(runtime),
        })
    }

    /// The object of a path below the prefix.
    fn object(&self, path: &str) -> Result<Path> {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let whole = format!("{}{slash}{path}", self.prefix);
        Path::parse(whole)
            .map_err(|_| Error::new(Kind::Unexpected, format!("{path} is no name of an object")))
    }

    fn manifest(&self, sequence: u64) -> Result<Path> {
        self.object(&format!("{OURS}/{}", manifest_name(sequence)))
    }

    /// Returns the folders and objects right below a path; those of the prefix for an empty path.
    fn list(&self, path: &str, left: &mut ListAllowance) -> Result<(Vec<Path>, Vec<ObjectMeta>)> {
        let path = self.object(path)?;
        let prefix = match path.as_ref() {
            "" => None,
            path => Some(format!("{path}/")),
        };
        let (mut folders, mut objects) = (Vec::new(), Vec::new());
        let mut token = None;
        loop {
            let options = PaginatedListOptions {
                delimiter: Some("/".into()),
                page_token: token,
                ..PaginatedListOptions::default()
            };
            let (store, prefix) = (Arc::clone(&self.service.store), prefix.clone());
            let page = self
                .service
                .wait(async move { store.list_paginated(prefix.as_deref(), options).await })?;
            left.count(
                page.result.common_prefixes.len() + page.result.objects.len(),
                &self.service.name,
            )?;
            folders.extend(page.result.common_prefixes);
            objects.extend(page.result.objects);
            token = page.page_token;
            if token.is_none() {
                return Ok((folders, objects));
            }
        }
    }

    fn remove(&self, path: Path) -> Result<()> {
        let store = Arc::clone(&self.service.store);
        self.service.wait(async move {
            match store.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        })
    }
}

/// The pages and objects that a service may still list.
struct ListAllowance {
    pages: usize,
    objects: usize,
}

impl ListAllowance {
    const fn full() -> Self {
        Self {
            pages: MAX_PAGES,
            objects: MAX_OBJECTS,
        }
    }

    fn count(&mut self, objects: usize, place: &str) -> Result<()> {
        let pages = self.pages.checked_sub(1);
        let Some((pages, objects)) = pages.zip(self.objects.checked_sub(objects)) else {
            let text = format!(
                "the service of {place} lists more than {MAX_OBJECTS} objects or {MAX_PAGES} pages there; choose another \
                 prefix"
            );
            return Err(Error::new(Kind::OutputFailed, text));
        };
        *self = Self { pages, objects };
        Ok(())
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed where other futures run.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Service {
    /// Lets the service's own thread do something, and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            let _ = answer.send(work.await);
        });
        match answered.recv() {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Error::new(Kind::OutputFailed, explain(&self.name, &error))),
            Err(_) => Err(Error::new(
                Kind::Unexpected,
                "what talks to object storage has ended",
            )),
        }
    }
}

impl FileStorage for Bucket {
    fn name(&self) -> String {
        self.service.name.clone()
    }

    fn manifest_name(&self, sequence: u64) -> String {
        format!(
            "{}/{OURS}/{}",
            self.service.name.trim_end_matches('/'),
            manifest_name(sequence)
        )
    }

    fn take(&mut self) -> Result<()> {
        Ok(())
    }

    fn manifests(&mut self) -> Result<BTreeMap<u64, u64>> {
        let (_, objects) = self.list(OURS, &mut ListAllowance::full())?;
        let found = objects.iter().filter_map(|object| {
            let sequence = manifest_sequence(object.location.filename()?)?;
            Some((sequence, object.size))
        });
        Ok(found.collect())
    }

    fn read_manifest(&mut self, sequence: u64) -> Result<Vec<u8>> {
        let path = self.manifest(sequence)?;
        let store = Arc::clone(&self.service.store);
        let found = self.service.wait(async move { store.get(&path).await })?;
        // A list may give another size.
        Manifest::check_size(found.meta.size, &self.manifest_name(sequence))?;
        let text = self.service.wait(found.bytes())?;
        Ok(text.into())
    }

    fn publish(&mut self, sequence: u64, text: &[u8]) -> Result<bool> {
        let path = self.manifest(sequence)?;
        let body = Bytes::copy_from_slice(text);
        let store = Arc::clone(&self.service.store);
        let is_first = self.service.wait(async move {
            match store
                .put_opts(&path, body.into(), PutMode::Create.into())
                .await
            {
                Ok(_) => Ok(true),
                Err(
                    object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. },
                ) => Ok(false),
                Err(error) => Err(error),
            }
        })?;
        // Ours may have got there though its answer did not, and the second try then finds it.
        if !is_first && self.read_manifest(sequence)? != text {
            return Ok(false);
        }
        // A run that was suspended for long finds its number free again, since outdated manifests are removed.
        let newest = self.manifests()?.into_keys().next_back();
        Ok(newest.is_none_or(|newest| newest <= sequence))
    }

    fn remove_manifest(&mut self, sequence: u64) -> Result<()> {
        self.remove(self.manifest(sequence)?)
    }

    fn parts(&mut self) -> Result<BTreeMap<String, u64>> {
        let mut found = BTreeMap::new();
        let mut left = ListAllowance::full();
        let (folders, _) = self.list("", &mut left)?;
        for folder in folders {
            let Some(stream) = folder.filename().filter(|name| *name != OURS) else {
                continue;
            };
            for object in self.list(stream, &mut left)?.1 {
                if let Some(name) = object.location.filename().filter(|name| is_part(name)) {
                    found.insert(format!("{stream}/{name}"), object.size);
                }
            }
        }
        Ok(found)
    }

    fn remove_part(&mut self, path: &str) -> Result<()> {
        self.remove(self.object(path)?)
    }

    fn prepare(&mut self, _stream: &str) -> Result<()> {
        Ok(())
    }

    fn create(&mut self, path: &str) -> Result<Box<dyn Part>> {
        Ok(Box::new(Upload {
            path: self.object(path)?,
            service: self.service.clone(),
            buffer: Vec::new(),
            pieces: None,
            written: 0,
        }))
    }

    fn settle(&mut self, _streams: &[&str]) -> Result<()> {
        Ok(())
    }
}

/// An object on its way. It is there once all of its pieces are, and not before.
struct Upload {
    path: Path,
    service: Service,
    buffer: Vec<u8>,
    /// Once there is more than one piece.
    pieces: Option<Box<dyn MultipartUpload>>,
    written: u64,
}

impl Upload {
    fn send_piece(&mut self) -> Result<()> {
        let mut pieces = match self.pieces.take() {
            Some(pieces) => pieces,
            None => {
                let (store, path) = (Arc::clone(&self.service.store), self.path.clone());
                self.service
                    .wait(async move { store.put_multipart(&path).await })?
            }
        };
        let piece = Bytes::from(mem::take(&mut self.buffer));
        let sent = self.service.wait(pieces.put_part(piece.into()));
        self.pieces = Some(pieces);
        sent
    }

    fn end(&mut self) -> Result<u64> {
        if self.pieces.is_some() {
            self.send_piece()?;
        }
        if let Some(mut pieces) = self.pieces.take() {
            self.service.wait(async move { pieces.complete().await })?;
        } else {
            let (store, path) = (Arc::clone(&self.service.store), self.path.clone());
            let body = Bytes::from(mem::take(&mut self.buffer));
            self.service
                .wait(async move { store.put(&path, body.into()).await })?;
        }
        Ok(self.written)
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        self.written += taken as u64;
        if self.buffer.len() == PIECE {
            self.send_piece().map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Part for Upload {
    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.end().map_err(io::Error::other)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Pieces that no object is made of cost money until they are removed.
        let Some(mut pieces) = self.pieces.take() else {
            return;
        };
        let (sender, ended) = mpsc::sync_channel(1);
        self.service.handle.spawn(async move {
            let _ = sender.send(pieces.abort().await);
        });
        let _ = ended.recv_timeout(ABORT_TIMEOUT);
    }
}

/// Whether an endpoint is plain HTTP, which only this machine may be asked for.
fn is_plain_http(endpoint: &str) -> Result<bool> {
    let wrong = |what: &str| invalid(format!("the environment variable AWS_ENDPOINT_URL {what}"));
    let url = Url::parse(endpoint).map_err(|_| wrong("is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(wrong("holds more than a scheme, a host, a port and a path"));
    }
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(false),
        "http" if is_loopback => Ok(true),
        _ => Err(wrong(
            "has to begin with https://; plain http is for services on this machine only",
        )),
    }
}

fn variable(names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| env::var(name).ok())
        .find(|value| !value.is_empty())
}

fn needed(names: &[&str], place: &str) -> Result<String> {
    variable(names).ok_or_else(|| {
        invalid(format!(
            "{place} needs the environment variable {}",
            names.join(" or ")
        ))
    })
}

/// What went wrong, without what the service said: its answers name signatures and headers.
fn explain(place: &str, error: &object_store::Error) -> String {
    // Refusals of a list come as no error of their own.
    let details = format!("{error:?}");
    let is_refused = |status: &str| details.contains(&format!("status: {status}"));
    match error {
        object_store::Error::NotFound { .. } => {
            format!("{place} does not exist, or the bucket is in another region")
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => denied(place),
        _ if is_refused("401") || is_refused("403") => denied(place),
        object_store::Error::NotImplemented { .. } => format!(
            "the service of {place} does not put objects on a condition, which is what keeps two runs apart"
        ),
        other => match cause(other) {
            Some(HttpErrorKind::Connect) => format!("the service of {place} cannot be reached"),
            Some(HttpErrorKind::Timeout) => {
                format!("the service of {place} does not answer in time")
            }
            _ if details.contains("NoSuchBucket") => {
                format!("{place} does not exist, or the bucket is in another region")
            }
            _ => format!("the service of {place} answered with an error"),
        },
    }
}

fn denied(place: &str) -> String {
    format!("the credentials in the AWS environment variables may not read and write {place}")
}

fn cause(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(http) = cause.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        next = cause.source();
    }
    None
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(Kind::ConfigInvalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (endpoint, expected) in [
            ("https://storage.example.com", Some(false)),
            ("http://127.0.0.1:9000", Some(true)),
            ("http://localhost:9000", Some(true)),
            ("http://[::1]:9000", Some(true)),
            ("http://storage.example.com", None),
            ("http://127.0.0.1.example.com", None),
            ("https://key:hunter2@storage.example.com", None),
            ("ftp://127.0.0.1", None),
            ("storage", None),
        ] {
            let found = is_plain_http(endpoint);
            let shown = format!("{found:?}");
            assert_eq!(found.ok(), expected, "{endpoint}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
