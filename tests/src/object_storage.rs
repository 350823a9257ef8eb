//! Object storage that speaks S3, in the test process: it checks signatures, and conditions of writes.
//!
//! Of two that write on the condition that a name is free, this server would let both through when they come at the
//! same instant; services promise that it does not happen. So such writes go one after the other here.

mod memory;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use hyper::body::Incoming;
use hyper::header::IF_NONE_MATCH;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::S3;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::proxy::Proxy;

/// Name of the key.
pub const KEY: &str = "AKIATESTS";
/// The key.
pub const SECRET: &str = "a-secret-that-nobody-must-see/+=";
/// The bucket that is there.
pub const BUCKET: &str = "images";

/// A running server. It ends with this value.
pub struct ObjectStorage {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
    /// How it behaves.
    pub manners: Arc<Manners>,
    /// In front of it.
    pub proxy: Proxy,
}

/// How the server behaves.
#[derive(Default)]
pub struct Manners {
    /// Writes on a condition are taken without it, as some servers do.
    pub ignores_conditions: AtomicBool,
    /// So many of the next requests are done, but answered with status 500.
    pub lost_answers: AtomicU32,
    /// What is answered instead of writing, as "403 AccessDenied"; empty for nothing.
    pub refusal: std::sync::Mutex<String>,
    conditional: Mutex<()>,
}

impl ObjectStorage {
    /// A server that keeps its buckets in `directory`, where one is made.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(directory: &Path) -> Self {
        Self::with(directory, None, S3Config::default())
    }

    /// A server that keeps its objects in memory.
    ///
    /// # Panics
    /// As [`ObjectStorage::start`].
    pub fn start_in_memory() -> Self {
        let bucket = service_of(memory::Memory::default(), S3Config::default());
        Self::serving(bucket, PathBuf::new(), None)
    }

    /// The same over TLS, with the certificate and the key of these files.
    ///
    /// # Panics
    /// As [`ObjectStorage::start`].
    pub fn start_tls(directory: &Path, certificate: &Path, key: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
        Self::with(directory, Some(TlsAcceptor::from(Arc::new(config))), S3Config::default())
    }

    /// A server whose clock may not differ by a second from that of who asks: it differs from everybody's.
    ///
    /// # Panics
    /// As [`ObjectStorage::start`].
    pub fn start_with_another_clock(directory: &Path) -> Self {
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = 0;
        Self::with(directory, None, config)
    }

    fn with(directory: &Path, tls: Option<TlsAcceptor>, config: S3Config) -> Self {
        std::fs::create_dir_all(directory.join(BUCKET)).unwrap();
        Self::serving(service_of(FileSystem::new(directory).unwrap(), config), directory.to_owned(), tls)
    }

    fn serving(service: S3Service, directory: PathBuf, tls: Option<TlsAcceptor>) -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let manners = Arc::<Manners>::default();
        let shown = manners.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::spawn(serve(listener, service, directory, shown, tls));
                let _ = stopped.await;
            });
        });
        let address: SocketAddr = told.recv().unwrap();
        Self { stop: Some(stop), thread: Some(thread), address, manners, proxy: Proxy::new(address) }
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address())
    }

    /// The same past the proxy.
    pub fn direct_endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The target below `prefix`, as an operator writes it.
    pub fn target(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}?endpoint={}", self.endpoint())
    }
}

fn service_of(objects: impl S3, config: S3Config) -> S3Service {
    let mut builder = S3ServiceBuilder::new(objects);
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.build()
}

async fn serve(
    listener: TcpListener,
    service: S3Service,
    directory: PathBuf,
    manners: Arc<Manners>,
    tls: Option<TlsAcceptor>,
) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { return };
        let (service, manners, directory, tls) = (service.clone(), manners.clone(), directory.clone(), tls.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(&service, &manners, &directory, request));
            // A client that breaks off is none of the server's business.
            let _ = match tls {
                None => Builder::new().serve_connection(TokioIo::new(socket), answer).await,
                Some(tls) => match tls.accept(socket).await {
                    Ok(stream) => Builder::new().serve_connection(TokioIo::new(stream), answer).await,
                    Err(_) => return,
                },
            };
        });
    }
}

async fn answer(
    service: &S3Service,
    manners: &Manners,
    directory: &Path,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, s3s::HttpError> {
    let refusal = manners.refusal.lock().unwrap().clone();
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some((status, code)) = refusal.split_once(' ').filter(|_| is_change) {
        let body = format!("<Error><Code>{code}</Code><Message>As the test wants it.</Message></Error>");
        let mut response = Response::new(s3s::Body::from(body));
        *response.status_mut() = status.parse().unwrap();
        return Ok(response);
    }
    let is_conditional = request.headers().contains_key(IF_NONE_MATCH);
    if is_conditional && manners.ignores_conditions.load(Ordering::SeqCst) {
        // The header itself is signed, so the object has to give way instead.
        let _ = std::fs::remove_file(directory.join(request.uri().path().trim_start_matches('/')));
    }
    let _turn = if is_conditional { Some(manners.conditional.lock().await) } else { None };
    let response = service.call(request.map(s3s::Body::from)).await;
    let take = || manners.lost_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if is_change && take().is_ok() {
        let mut lost = Response::new(s3s::Body::empty());
        *lost.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(lost);
    }
    response
}

impl Drop for ObjectStorage {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
