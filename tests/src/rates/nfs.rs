//! A plain copy with `nfs3_client` over plain sockets.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use nfs3_client::io::{AsyncRead, AsyncWrite};
use nfs3_client::nfs3_types::mount::dirpath;
use nfs3_client::nfs3_types::nfs3::{
    COMMIT3args, CREATE3args, Nfs3Option, READ3args, WRITE3args, createhow3, diropargs3, filename3, nfs_fh3, sattr3,
    stable_how,
};
use nfs3_client::nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_client::nfs3_types::xdr_codec::Opaque;
use nfs3_client::{MountClient, Nfs3Client};

use super::{MIB, Rates, rate};
use crate::nfs_scene::Scene;

/// Each connection writes and reads its share.
///
/// # Panics
/// Where anything fails.
pub fn plain(scene: &Scene, connections: usize, bytes: &[u8]) -> Rates {
    let (port, mount_port) = (scene.server.nfs.port(), scene.server.mount.port());
    let credential = || opaque_auth::auth_unix(&auth_unix::default());
    let connect = |port| Plain(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let mut mount = MountClient::new_with_auth(connect(mount_port), credential(), opaque_auth::default());
    let export = scene.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let path = dirpath(Opaque::borrowed(export.as_bytes()));
    let root = nfs_fh3 { data: now(mount.mnt(path)).unwrap().fhandle.0 };
    let mut clients: Vec<_> = (0..connections)
        .map(|_| Nfs3Client::new_with_auth(connect(port), credential(), opaque_auth::default()))
        .collect();
    let where_ = diropargs3 { dir: root, name: filename3(Opaque::borrowed(b"plain")) };
    let attributes = sattr3 { size: Nfs3Option::Some(0), mode: Nfs3Option::Some(0o644), ..sattr3::default() };
    let how = createhow3::UNCHECKED(attributes);
    let file = now(clients[0].create(&CREATE3args { where_, how })).unwrap().unwrap().obj.unwrap();
    let began = Instant::now();
    each(&mut clients, |client, number| {
        for offset in (number * MIB..bytes.len()).step_by(connections * MIB) {
            let data = Opaque::borrowed(&bytes[offset..offset + MIB]);
            let (file, stable) = (file.clone(), stable_how::UNSTABLE);
            let arguments = WRITE3args { file, offset: offset as u64, count: MIB as u32, stable, data };
            now(client.write(&arguments)).unwrap().unwrap();
        }
    });
    now(clients[0].commit(&COMMIT3args { file: file.clone(), offset: 0, count: 0 })).unwrap().unwrap();
    let write = rate(bytes.len(), began);
    let began = Instant::now();
    each(&mut clients, |client, number| {
        for offset in (number * MIB..bytes.len()).step_by(connections * MIB) {
            let arguments = READ3args { file: file.clone(), offset: offset as u64, count: MIB as u32 };
            now(client.read(&arguments)).unwrap().unwrap();
        }
    });
    Rates { write, read: rate(bytes.len(), began) }
}

fn each(clients: &mut [Nfs3Client<Plain>], work: impl Fn(&mut Nfs3Client<Plain>, usize) + Sync) {
    thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            let work = &work;
            scope.spawn(move || work(client, number));
        }
    });
}

/// A socket that waits in its thread.
struct Plain(TcpStream);

impl AsyncRead for Plain {
    async fn async_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

impl AsyncWrite for Plain {
    async fn async_write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a socket that waits in its thread is always ready"),
    }
}
