//! Objects that are kept in memory, for measurements: `s3s-fs` moves 4 KiB at a time between its threads, which takes a
//! processor more time than whoever sends the bytes needs. The protocol, the signatures and their digests are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, GetObjectInput, GetObjectOutput,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object as Listed, PutObjectInput,
    PutObjectOutput, StreamingBlob, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

/// An object: its pieces as they were sent, in order.
#[derive(Clone)]
struct Object {
    pieces: Vec<Bytes>,
    number: u64,
}

impl Object {
    fn length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    fn tag(&self) -> ETag {
        ETag::Strong(format!("{:032x}", self.number))
    }

    fn part(&self, range: std::ops::Range<u64>) -> Vec<Bytes> {
        let mut start = 0;
        let cut = self.pieces.iter().filter_map(|piece| {
            let (first, end) = (range.start.max(start), range.end.min(start + piece.len() as u64));
            let within = (first < end).then(|| piece.slice((first - start) as usize..(end - start) as usize));
            start += piece.len() as u64;
            within
        });
        cut.collect()
    }
}

/// One bucket; whatever bucket is named, it is this one.
#[derive(Default)]
pub struct Memory {
    objects: Mutex<BTreeMap<String, Object>>,
    uploads: Mutex<BTreeMap<String, BTreeMap<i32, Bytes>>>,
    last_number: AtomicU64,
}

impl Memory {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap()
    }

    fn object(&self, key: &str) -> S3Result<Object> {
        self.objects().get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// All bytes of a request in one piece.
async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(|_| s3_error!(IncompleteBody))?);
    }
    Ok(bytes.freeze())
}

fn now() -> Option<Timestamp> {
    Some(Timestamp::from(SystemTime::now()))
}

fn answer<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

#[async_trait::async_trait]
impl S3 for Memory {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let object = Object { pieces: vec![whole(input.body).await?], number: self.next_number() };
        let tag = object.tag();
        let mut objects = self.objects();
        let present = objects.get(&input.key).map(Object::tag);
        let is_refused = match (&input.if_none_match, &input.if_match) {
            (Some(condition), _) if condition.is_any() => present.is_some(),
            (_, Some(condition)) => condition.as_etag() != present.as_ref(),
            _ => false,
        };
        if is_refused {
            return Err(s3_error!(PreconditionFailed));
        }
        objects.insert(input.key, object);
        answer(PutObjectOutput { e_tag: Some(tag), ..Default::default() })
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let object = self.object(&request.input.key)?;
        let length = object.length();
        let (range, content_range) = match request.input.range {
            None => (0..length, None),
            Some(range) => {
                let range = range.check(length).map_err(|_| s3_error!(InvalidRange))?;
                let told = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                (range, Some(told))
            }
        };
        let content_length = Some((range.end - range.start) as i64);
        let pieces = object.part(range).into_iter().map(Ok::<_, std::io::Error>);
        let body = Some(StreamingBlob::wrap(stream::iter(pieces)));
        let (last_modified, e_tag) = (now(), Some(object.tag()));
        answer(GetObjectOutput { body, content_length, content_range, last_modified, e_tag, ..Default::default() })
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.object(&request.input.key)?;
        let (content_length, e_tag) = (Some(object.length() as i64), Some(object.tag()));
        answer(HeadObjectOutput { content_length, last_modified: now(), e_tag, ..Default::default() })
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.objects().remove(&request.input.key);
        answer(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut objects = self.objects();
        let gone = request.input.delete.objects.into_iter().map(|object| {
            objects.remove(&object.key);
            DeletedObject { key: Some(object.key), ..Default::default() }
        });
        answer(DeleteObjectsOutput { deleted: Some(gone.collect()), ..Default::default() })
    }

    /// All at once, however many.
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let prefix = request.input.prefix.clone().unwrap_or_default();
        let (mut contents, mut prefixes) = (Vec::new(), BTreeSet::new());
        for (key, object) in self.objects().iter().filter(|(key, _)| key.starts_with(&prefix)) {
            let rest = &key[prefix.len()..];
            match request.input.delimiter.as_deref().and_then(|delimiter| rest.split_once(delimiter)) {
                Some((directory, _)) => drop(prefixes.insert(format!("{prefix}{directory}/"))),
                None => contents.push(Listed {
                    key: Some(key.clone()),
                    size: Some(object.length() as i64),
                    last_modified: now(),
                    e_tag: Some(object.tag()),
                    ..Default::default()
                }),
            }
        }
        let common_prefixes = prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect();
        answer(ListObjectsV2Output {
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            is_truncated: Some(false),
            name: Some(request.input.bucket),
            prefix: Some(prefix),
            ..Default::default()
        })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let id = self.next_number().to_string();
        self.uploads.lock().unwrap().insert(id.clone(), BTreeMap::new());
        let (bucket, key) = (Some(request.input.bucket), Some(request.input.key));
        answer(CreateMultipartUploadOutput { bucket, key, upload_id: Some(id), ..Default::default() })
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = whole(input.body).await?;
        let mut uploads = self.uploads.lock().unwrap();
        uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?.insert(input.part_number, bytes);
        let e_tag = Some(ETag::Strong(format!("{:032x}", input.part_number)));
        answer(UploadPartOutput { e_tag, ..Default::default() })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let parts = self.uploads.lock().unwrap().remove(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let wanted = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let pieces = wanted.iter().map(|part| parts.get(&part.part_number?).cloned()).collect::<Option<_>>();
        let object = Object { pieces: pieces.ok_or_else(|| s3_error!(InvalidPart))?, number: self.next_number() };
        let e_tag = Some(object.tag());
        self.objects().insert(input.key.clone(), object);
        let (bucket, key) = (Some(input.bucket), Some(input.key));
        answer(CompleteMultipartUploadOutput { bucket, key, e_tag, ..Default::default() })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.uploads.lock().unwrap().remove(&request.input.upload_id);
        answer(AbortMultipartUploadOutput::default())
    }
}
