//! Object storage that speaks S3, in the test process: it checks signatures, and conditions of writes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

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
    /// In front of it.
    pub proxy: Proxy,
}

impl ObjectStorage {
    /// A server that keeps its buckets in `directory`, where one is made.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(directory: &Path) -> Self {
        std::fs::create_dir_all(directory.join(BUCKET)).unwrap();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let directory = directory.to_owned();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::spawn(serve(listener, directory));
                let _ = stopped.await;
            });
        });
        let address: SocketAddr = told.recv().unwrap();
        Self { stop: Some(stop), thread: Some(thread), proxy: Proxy::new(address) }
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address())
    }
}

async fn serve(listener: TcpListener, directory: std::path::PathBuf) {
    let mut builder = S3ServiceBuilder::new(FileSystem::new(directory).unwrap());
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = builder.build();
    loop {
        let Ok((socket, _)) = listener.accept().await else { return };
        let service = service.clone();
        tokio::spawn(async move {
            // A client that breaks off is none of the server's business.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

impl Drop for ObjectStorage {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
