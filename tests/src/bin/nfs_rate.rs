//! How fast an export is: a plain copy with the client library alone, the target of the program, and a whole save,
//! against one server on this machine; then over a link of 1 Gbit/s. Prints a table for `docs/targets.md`.
//!
//! `nfs_rate DIRECTORY MEBIBYTES`: the directory is exported; what lies in it is not touched.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use image::Store;
use nfs3_client::io::{AsyncRead, AsyncWrite};
use nfs3_client::nfs3_types::mount::dirpath;
use nfs3_client::nfs3_types::nfs3::{
    COMMIT3args, CREATE3args, Nfs3Option, READ3args, WRITE3args, createhow3, diropargs3, filename3, nfs_fh3, sattr3,
    stable_how,
};
use nfs3_client::nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_client::nfs3_types::xdr_codec::Opaque;
use nfs3_client::{MountClient, Nfs3Client};
use repository::{DirectoryStore, NfsAddress, NfsStore, Patience, Watch};
use session::Cancel;
use tests::FileDisk;
use tests::fill::content;
use tests::ganesha::Ganesha;
use tests::sessions::save;

const MIB: usize = 1 << 20;
const LINK: f64 = 125e6;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (directory, mebibytes) = (Path::new(&arguments[1]), arguments[2].parse::<usize>().unwrap());
    let exported = tempfile::tempdir_in(directory).unwrap();
    let server = Ganesha::start(exported.path());
    // Nothing in it is there twice: a save would not send it.
    let bytes: Vec<u8> = (0..mebibytes).flat_map(|number| content(number as u64 + 1, MIB)).collect();
    let bytes = bytes.as_slice();
    println!("| {mebibytes} MiB | MB/s |\n|---|---|");
    let through_proxy = address(&server, exported.path());
    let disk_path = exported.path().join("disk.img");
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let (port, mount_port) = server.enter();
            for connections in [1, 4] {
                let (write, read) = plain(port, mount_port, exported.path(), connections, bytes);
                println!("| client library, {connections} connections: write and COMMIT | {write:.0} |");
                println!("| client library, {connections} connections: read | {read:.0} |");
            }
            let local = NfsAddress { port: Some(port), mount_port: Some(mount_port), ..through_proxy.clone() };
            let store = NfsStore::open(&local, Patience::default(), Watch::default()).unwrap();
            let (write, read) = copy(&store, bytes, 4);
            println!("| target: write and sync | {write:.0} |\n| target: read, 4 threads | {read:.0} |");
            fs::write(&disk_path, bytes).unwrap();
            println!("| save to the target | {:.0} |", save_rate(&store, &disk_path, "a", bytes.len()));
        });
        inside.join().unwrap();
    });
    let local = tempfile::tempdir_in(directory).unwrap();
    let store = DirectoryStore::open(local.path()).unwrap();
    println!("| save to the same disk as a directory | {:.0} |", save_rate(&store, &disk_path, "b", bytes.len()));
    drop(local);
    for (name, delay) in [("0 ms", 0), ("1 ms", 1)] {
        fs::remove_dir_all(exported.path().join("packs")).unwrap();
        fs::remove_dir_all(exported.path().join("images")).unwrap();
        server.nfs.rate(Some(LINK as u64));
        server.nfs.delay(Duration::from_millis(delay));
        let store = NfsStore::open(&through_proxy, Patience::default(), Watch::default()).unwrap();
        let (write, read) = copy(&store, bytes, 4);
        let percent = |rate: f64| rate * 1e6 / LINK * 100.0;
        println!("| link of 1 Gbit/s, {name} each way: write and sync | {write:.0} ({:.0} %) |", percent(write));
        println!("| link of 1 Gbit/s, {name} each way: read, 4 threads | {read:.0} ({:.0} %) |", percent(read));
        let saved = save_rate(&store, &disk_path, "c", bytes.len());
        println!("| link of 1 Gbit/s, {name} each way: save | {saved:.0} ({:.0} %) |", percent(saved));
        server.nfs.rate(None);
    }
}

fn address(server: &Ganesha, path: &Path) -> NfsAddress {
    NfsAddress {
        host: "127.0.0.1".into(),
        port: Some(server.nfs.port()),
        mount_port: Some(server.mount.port()),
        path: path.to_str().unwrap().into(),
        ..NfsAddress::default()
    }
}

fn rate(length: usize, began: Instant) -> f64 {
    length as f64 / began.elapsed().as_secs_f64() / 1e6
}

fn save_rate(store: &dyn Store, disk: &Path, image: &str, length: usize) -> f64 {
    let disk = FileDisk::open(disk);
    let began = Instant::now();
    save(store, image, &disk, &Cancel::new()).unwrap();
    rate(length, began)
}

/// Writes a file through a store and reads it back with several threads.
fn copy(store: &NfsStore, bytes: &[u8], threads: usize) -> (f64, f64) {
    let began = Instant::now();
    let mut file = store.create("copy").unwrap();
    bytes.chunks(MIB).for_each(|chunk| file.write(chunk).unwrap());
    file.sync().unwrap();
    let write = rate(bytes.len(), began);
    let began = Instant::now();
    thread::scope(|scope| {
        for number in 0..threads {
            scope.spawn(move || {
                let mut buffer = vec![0; 4 * MIB];
                for offset in (number * 4 * MIB..bytes.len()).step_by(threads * 4 * MIB) {
                    let length = buffer.len().min(bytes.len() - offset);
                    store.read_at("copy", offset as u64, &mut buffer[..length]).unwrap();
                }
            });
        }
    });
    let read = rate(bytes.len(), began);
    store.remove("copy").unwrap();
    (write, read)
}

/// The client library over plain sockets: each connection writes and reads its share.
fn plain(port: u16, mount_port: u16, export: &Path, connections: usize, bytes: &[u8]) -> (f64, f64) {
    let credential = || opaque_auth::auth_unix(&auth_unix::default());
    let connect = |port| Plain(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let mut mount = MountClient::new_with_auth(connect(mount_port), credential(), opaque_auth::default());
    let path = dirpath(Opaque::borrowed(export.to_str().unwrap().as_bytes()));
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
    (write, rate(bytes.len(), began))
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
