//! Object storage that speaks S3 as a target: Amazon's, Ceph, MinIO, Garage and others.
//!
//! There are no directories and no renaming: an object appears whole under its last name. A pack, whose name is
//! known when it is full, is kept in memory until then. Two machines can't give one name to two images because the
//! manifest is put on the condition that its name is free; a server that does not know such conditions is found out
//! before anything is published, and refused.

mod fault;
mod keys;
mod object;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use image::{Entry, Lock, NamelessFile, Store, StoreError, StoreErrorKind, StoreFile, StoreResult};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};

use crate::address::{S3Address, Secret};
use crate::lease::{LOCKS_DIRECTORY, LeaseTimes, Leases};
use crate::leased::{LeasedStore, may_repeat};
use crate::patience::{Fault, Line, Patience, Watch};
use crate::random_name;
use crate::runtime::Runtime;
use fault::fault_of;
pub use keys::S3Keys;
use object::{NamelessObject, ObjectFile, PART_BYTES};

/// What services expect that have no regions.
const DEFAULT_REGION: &str = "us-east-1";
/// Requests of one read that are under way together.
const READS_AT_ONCE: usize = 4;

/// A part of a bucket that holds a repository.
pub struct S3Store;

/// The bucket, and the way to it.
pub struct Bucket {
    store: AmazonS3,
    address: S3Address,
    line: Arc<Line>,
    leases: Arc<Leases>,
    runtime: Runtime,
}

/// The objects of a bucket, without locks.
struct Objects {
    bucket: Arc<Bucket>,
    /// Whether the server has shown that it knows conditions.
    knows_conditions: Mutex<bool>,
}

impl S3Store {
    /// Looks at the bucket at `address`.
    ///
    /// # Errors
    /// `Unreachable`, `Login`, `NoExport` where there is no such bucket, `Denied`.
    pub fn open(address: S3Address, keys: &S3Keys, patience: Patience, watch: Watch) -> StoreResult<LeasedStore> {
        Self::open_with(address, keys, patience, LeaseTimes::default(), watch)
    }

    /// As [`S3Store::open`], with other times for locks.
    ///
    /// # Errors
    /// As [`S3Store::open`].
    pub fn open_with(
        address: S3Address,
        keys: &S3Keys,
        patience: Patience,
        times: LeaseTimes,
        watch: Watch,
    ) -> StoreResult<LeasedStore> {
        let location = address.to_string();
        let failed = |fault: Fault| fault.at("opening", location.clone(), "");
        let runtime = Runtime::start("s3").map_err(|error| failed(Fault::of(error)))?;
        let store = build(&address, keys, patience.first_contact).map_err(|error| failed(fault_of(&error)))?;
        let (line, leases) = (Arc::new(Line::new(patience, watch)), Arc::new(Leases::new(times)));
        let bucket = Arc::new(Bucket { store, address, line: line.clone(), leases: leases.clone(), runtime });
        bucket.run("opening", "", async |_| {
            bucket.ask(bucket.store.list_with_delimiter(Some(&bucket.key(LOCKS_DIRECTORY)))).await
        })?;
        line.opened();
        let objects = Objects { bucket, knows_conditions: Mutex::new(false) };
        Ok(LeasedStore::new(Arc::new(objects), line, leases))
    }
}

fn build(address: &S3Address, keys: &S3Keys, connect_timeout: std::time::Duration) -> object_store::Result<AmazonS3> {
    let is_plain = address.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let client = ClientOptions::new()
        .with_allow_http(is_plain)
        .with_connect_timeout(connect_timeout)
        // Each request has the deadline of the line instead.
        .with_timeout_disabled();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&address.bucket)
        .with_region(address.region.as_deref().unwrap_or(DEFAULT_REGION))
        .with_access_key_id(&keys.id)
        .with_secret_access_key(keys.secret.reveal())
        .with_allow_http(is_plain)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // What is tried again, and how long, is said in one place for all targets.
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_client_options(client);
    if let Some(token) = keys.token.as_ref().map(Secret::reveal) {
        builder = builder.with_token(token);
    }
    match &address.endpoint {
        // Services of one's own seldom have a name for each bucket.
        Some(endpoint) => builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false),
        None => builder = builder.with_virtual_hosted_style_request(true),
    }
    builder.build()
}

impl Bucket {
    fn location(&self) -> String {
        self.address.to_string()
    }

    fn error(&self, fault: Fault, operation: &'static str, path: &str) -> StoreError {
        fault.at(operation, self.location(), path)
    }

    fn key(&self, path: &str) -> Path {
        let parts = [self.address.prefix.as_str(), path];
        Path::from(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"))
    }

    async fn ask<T>(&self, request: impl Future<Output = object_store::Result<T>>) -> Result<T, Fault> {
        object::ask(&self.line, request).await
    }

    /// Does one operation, again where the server does not answer. `attempt` is told the number of the try.
    fn run<T>(
        &self,
        operation: &'static str,
        path: &str,
        mut attempt: impl AsyncFnMut(u32) -> Result<T, Fault>,
    ) -> StoreResult<T> {
        let done = self.line.run(operation, |number| self.runtime.wait(&self.line, operation, attempt(number)));
        done.map_err(|fault| self.error(fault, operation, path))
    }

    /// The same for an operation that changes something.
    fn change<T>(
        &self,
        operation: &'static str,
        path: &str,
        mut attempt: impl AsyncFnMut(u32) -> Result<T, Fault>,
    ) -> StoreResult<T> {
        self.run(operation, path, async |number| {
            if number > 0 {
                may_repeat(&self.leases, path)?;
            }
            attempt(number).await
        })
    }

    fn put(&self, path: &str, bytes: Bytes) -> StoreResult<()> {
        let key = self.key(path);
        self.change("writing", path, async |_| {
            self.ask(self.store.put(&key, PutPayload::from(bytes.clone()))).await.map(drop)
        })
    }

    fn read(&self, path: &str, offset: u64, buffer: &mut [u8]) -> StoreResult<()> {
        let key = self.key(path);
        self.run("reading", path, async |_| {
            let parts = buffer.chunks_mut(PART_BYTES).scan(offset, |next, part| {
                let offset = *next;
                *next = next.saturating_add(length_of(part));
                Some((offset, part))
            });
            let reads = stream::iter(parts.map(|(offset, part)| self.read_part(&key, offset, part)));
            reads.buffer_unordered(READS_AT_ONCE).try_collect::<()>().await
        })
    }

    async fn read_part(&self, key: &Path, offset: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        if buffer.is_empty() {
            return Ok(());
        }
        let end = offset.saturating_add(length_of(buffer));
        let found = match self.ask(self.store.get_range(key, offset..end)).await {
            // A range behind the end of the object is a mistake of ours to some servers.
            Err(fault) if fault.kind == StoreErrorKind::Io => {
                let size = self.ask(self.store.head(key)).await?.size;
                return Err(if size < end { too_short(size, end) } else { fault });
            }
            other => other?,
        };
        if found.len() != buffer.len() {
            return Err(too_short(offset.saturating_add(length_of(&found)), end));
        }
        buffer.copy_from_slice(&found);
        Ok(())
    }
}

fn too_short(size: u64, end: u64) -> Fault {
    Fault::lasting(StoreErrorKind::Truncated, format!("the object has {size} bytes, not {end}"))
}

impl Objects {
    /// Makes sure that the server refuses to replace an object that must be new, instead of not looking.
    fn check_conditions(&self) -> StoreResult<()> {
        let mut knows = guard(&self.knows_conditions);
        if *knows {
            return Ok(());
        }
        let path = format!("{LOCKS_DIRECTORY}/probe-{}", random_name());
        let first = self.put_new(&path, b"1");
        let second = first.and_then(|()| self.put_new(&path, b"2"));
        let removed = self.remove(&path);
        let text = match second {
            Err(error) if error.kind == StoreErrorKind::AlreadyExists => {
                *knows = true;
                return removed;
            }
            Err(error) if error.source.to_string().contains("501") => "501 NotImplemented",
            Err(error) => return Err(error),
            Ok(()) => "it replaced an object that had to be new",
        };
        let text = format!(
            "the server does not know conditional writes (If-None-Match), without which two machines could give one name to two images: {text}"
        );
        Err(self.bucket.error(Fault::lasting(StoreErrorKind::Io, text), "publishing", &path))
    }

    fn put_new(&self, path: &str, bytes: &'static [u8]) -> StoreResult<()> {
        self.put_new_bytes(path, &Bytes::from_static(bytes))
    }

    fn put_new_bytes(&self, path: &str, bytes: &Bytes) -> StoreResult<()> {
        let key = self.bucket.key(path);
        self.bucket.change("publishing", path, async |number| {
            let put = self.bucket.store.put_opts(&key, PutPayload::from(bytes.clone()), PutMode::Create.into());
            match self.bucket.ask(put).await {
                // No two that publish write the same bytes: these are ours, and only the answer was lost.
                Err(fault) if fault.kind == StoreErrorKind::AlreadyExists && number > 0 => {
                    let found = self.bucket.ask(async { self.bucket.store.get(&key).await?.bytes().await }).await?;
                    if found == *bytes { Ok(()) } else { Err(fault) }
                }
                other => other.map(drop),
            }
        })
    }
}

impl Store for Objects {
    fn location(&self) -> String {
        self.bucket.location()
    }

    fn list(&self, directory: &str) -> StoreResult<Vec<Entry>> {
        let key = self.bucket.key(directory);
        let bucket = &self.bucket;
        let listed = bucket.run("listing", directory, async |_| {
            let prefix = Some(&key).filter(|key| !key.as_ref().is_empty());
            bucket.ask(bucket.store.list_with_delimiter(prefix)).await
        })?;
        let name_of = |path: &Path| path.filename().map(str::to_owned);
        let directories = listed.common_prefixes.iter().filter_map(name_of);
        let directories = directories.map(|name| Entry { name, size: 0, is_directory: true });
        let files = listed.objects.iter().filter_map(|object| {
            Some(Entry { name: name_of(&object.location)?, size: object.size, is_directory: false })
        });
        let mut entries: Vec<Entry> = directories.chain(files).collect();
        entries.sort();
        Ok(entries)
    }

    fn size(&self, path: &str) -> StoreResult<u64> {
        let (key, bucket) = (self.bucket.key(path), &self.bucket);
        bucket.run("looking at", path, async |_| Ok(bucket.ask(bucket.store.head(&key)).await?.size))
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> StoreResult<()> {
        self.bucket.read(path, offset, buffer)
    }

    fn create(&self, path: &str) -> StoreResult<Box<dyn StoreFile>> {
        Ok(Box::new(ObjectFile::new(self.bucket.clone(), path.to_owned())))
    }

    fn create_nameless(&self) -> StoreResult<Option<Box<dyn NamelessFile>>> {
        Ok(Some(Box::new(NamelessObject::new(self.bucket.clone()))))
    }

    fn append(&self, path: &str, length: u64) -> StoreResult<Box<dyn StoreFile>> {
        if self.size(path)? < length {
            let fault = Fault::lasting(StoreErrorKind::Truncated, format!("the object has less than {length} bytes"));
            return Err(self.bucket.error(fault, "opening", path));
        }
        Ok(Box::new(ObjectFile::copy_of(self.bucket.clone(), path.to_owned(), length)?))
    }

    fn rename(&self, from: &str, to: &str) -> StoreResult<()> {
        let (old, new, bucket) = (self.bucket.key(from), self.bucket.key(to), &self.bucket);
        bucket.change("renaming", to, async |number| {
            match bucket.ask(bucket.store.copy(&old, &new)).await {
                Err(fault) if number > 0 && fault.kind == StoreErrorKind::NotFound => {
                    bucket.ask(bucket.store.head(&new)).await?;
                }
                other => other?,
            }
            bucket.ask(bucket.store.delete(&old)).await
        })
    }

    fn publish(&self, path: &str, bytes: &[u8]) -> StoreResult<()> {
        self.check_conditions()?;
        self.put_new_bytes(path, &Bytes::copy_from_slice(bytes))
    }

    fn remove(&self, path: &str) -> StoreResult<()> {
        let (key, bucket) = (self.bucket.key(path), &self.bucket);
        match bucket.change("removing", path, async |_| bucket.ask(bucket.store.delete(&key)).await) {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn lock(&self, name: &str) -> StoreResult<Box<dyn Lock>> {
        Err(self.bucket.error(Fault::of(io::ErrorKind::Unsupported.into()), "locking", name))
    }

    fn available_bytes(&self) -> StoreResult<Option<u64>> {
        Ok(None)
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
