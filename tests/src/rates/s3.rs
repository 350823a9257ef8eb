//! A plain copy with `object_store`: parts of 8 MiB, four at once, as the library's own writer sends them.

use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};

use super::{MIB, Rates, rate};
use crate::object_storage::{BUCKET, KEY, SECRET};
use crate::s3_scene::Scene;

const PART: usize = 8 * MIB;
const AT_ONCE: usize = 4;

/// Writes an object and reads it back.
///
/// # Panics
/// Where anything fails.
pub fn plain(scene: &Scene, bytes: &[u8]) -> Rates {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let store = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_access_key_id(KEY)
        .with_secret_access_key(SECRET)
        .with_allow_http(true)
        .with_endpoint(scene.server.endpoint())
        .with_virtual_hosted_style_request(false)
        .build()
        .unwrap();
    let path = Path::from("plain");
    runtime.block_on(async {
        let began = Instant::now();
        let upload = store.put_multipart(&path).await.unwrap();
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART);
        for part in bytes.chunks(PART) {
            writer.wait_for_capacity(AT_ONCE).await.unwrap();
            writer.write(part);
        }
        writer.finish().await.unwrap();
        let write = rate(bytes.len(), began);
        let began = Instant::now();
        let ranges =
            (0..bytes.len() as u64).step_by(PART).map(|start| start..(start + PART as u64).min(bytes.len() as u64));
        let parts: Vec<_> = stream::iter(ranges.map(|range| store.get_range(&path, range)))
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .unwrap();
        let read = rate(parts.iter().map(|part| part.len()).sum(), began);
        store.delete(&path).await.unwrap();
        Rates { write, read }
    })
}
