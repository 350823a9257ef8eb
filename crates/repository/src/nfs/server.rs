//! One server and one export: mounting it, a pool of connections, and calls that are tried again on a new one.
//!
//! Source: RFC 1813, appendix I (mount protocol); RFC 1833 (portmapper); RFC 5531, appendix A (`AUTH_SYS`).

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use image::{StoreErrorKind, StoreResult};
use nfs3_client::nfs3_types::mount::{self, dirpath};
use nfs3_client::nfs3_types::nfs3::{self, ftype3, nfsstat3};
use nfs3_client::nfs3_types::portmap::PMAP_PORT;
use nfs3_client::nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_client::nfs3_types::xdr_codec::Opaque;
use nfs3_client::{MountClient, MountError, Nfs3Client, PortmapperClient};

use super::file::Buffers;
use super::rpc::{FileId, Handle, Rpc};
use super::socket::{Socket, ready};
use super::status::{Trouble, of_mount, of_portmap};
use crate::address::NfsAddress;
use crate::lease::{LOCKS_DIRECTORY, Leases};
use crate::patience::{Fault, Line};

/// Connections at most: measured to fill a link of 1 Gbit/s where one does not.
pub const CONNECTIONS: usize = 4;
/// One more for locks: a beat must not wait behind data.
const LOCK_CONNECTIONS: usize = 1;
/// Larger requests gain nothing, and servers promise what they can't keep.
const REQUEST_LIMIT: u32 = 1 << 20;
/// The portmapper's word for TCP.
const TCP: u32 = 6;
/// A credential has room for no more groups.
const GROUPS_LIMIT: usize = 16;

/// An export that is mounted.
pub struct Server {
    /// The way to it.
    pub line: Arc<Line>,
    /// The locks that are held on it.
    pub leases: Leases,
    address: NfsAddress,
    location: String,
    credential: opaque_auth<'static>,
    mounted: Mutex<Option<Mounted>>,
    /// Which directory it was at first: after a restart another file system may stand in its place.
    root_id: Mutex<Option<FileId>>,
    data: Pool,
    locks: Pool,
    /// For blocks of files that are written.
    pub buffers: Buffers,
}

/// What mounting an export tells.
#[derive(Clone)]
struct Mounted {
    root: Handle,
    port: u16,
    read_bytes: u32,
    write_bytes: u32,
}

impl Server {
    /// Mounts an export.
    ///
    /// # Errors
    /// `Unreachable`, `NoExport`, `Denied`: exactly why it can't be used.
    pub fn mount(address: &NfsAddress, line: Line, leases: Leases) -> StoreResult<Self> {
        let server = Self {
            line: Arc::new(line),
            leases,
            location: address.to_string(),
            credential: credential(address),
            address: address.clone(),
            mounted: Mutex::default(),
            root_id: Mutex::default(),
            data: Pool::new(CONNECTIONS),
            locks: Pool::new(LOCK_CONNECTIONS),
            buffers: Buffers::default(),
        };
        server.call("mounting", &address.path, |_, _| Ok(()))?;
        server.line.opened();
        Ok(server)
    }

    /// What an operator calls it.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Bytes that one call may read, and write.
    pub fn request_bytes(&self) -> (u32, u32) {
        let least = REQUEST_LIMIT;
        guard(&self.mounted).as_ref().map_or((least, least), |mounted| (mounted.read_bytes, mounted.write_bytes))
    }

    /// The handle of the directory that holds the repository.
    ///
    /// # Errors
    /// Where it is not mounted, which passes.
    pub fn root(&self) -> Result<Handle, Trouble> {
        let mounted = guard(&self.mounted);
        let root = mounted.as_ref().map(|mounted| mounted.root.clone());
        root.ok_or_else(|| Fault::passing(io::Error::other("the export is not mounted")).into())
    }

    /// Does something with calls, again and again while it fails with what can pass, each time on a good connection.
    /// `attempt` is told the number of the try, from 0: after the first, an earlier one may have been done already.
    ///
    /// # Errors
    /// As [`Line::run`].
    pub fn call<T>(
        &self,
        operation: &'static str,
        path: &str,
        mut attempt: impl FnMut(&mut Rpc, u32) -> Result<T, Trouble>,
    ) -> StoreResult<T> {
        let pool = if path.starts_with(LOCKS_DIRECTORY) { &self.locks } else { &self.data };
        let done = self.line.run(operation, |number| {
            let mut slot = pool.take();
            // An export that was forgotten is mounted again by whoever connects.
            let mut rpc = match slot.idle.take().filter(|_| guard(&self.mounted).is_some()) {
                Some(rpc) => rpc,
                None => self.connect()?,
            };
            rpc.begin(operation);
            let done = attempt(&mut rpc, number);
            if rpc.is_broken() {
                // What broke this one broke the others too, most likely: they would only fail one after the other.
                pool.forget_idle();
            } else {
                slot.idle = Some(rpc);
            }
            done.map_err(Fault::from)
        });
        done.map_err(|fault| fault.at(operation, self.location.clone(), path))
    }

    /// As [`Server::call`] for something that changes the repository, while the locks that allow it are held.
    ///
    /// # Errors
    /// As [`Server::call`]; `Locked` where a lock was lost.
    pub fn change<T>(
        &self,
        operation: &'static str,
        path: &str,
        mut attempt: impl FnMut(&mut Rpc, u32) -> Result<T, Trouble>,
    ) -> StoreResult<T> {
        self.leases.fence(path)?;
        self.call(operation, path, |rpc, number| {
            // Much time may have passed before another try. Its connection is not used for this.
            if number > 0 && !path.starts_with(LOCKS_DIRECTORY) {
                match self.leases.is_trusted() {
                    Ok(true) => {}
                    // The lock's own thread does that as soon as the server answers.
                    Ok(false) => {
                        return Err(Fault::passing(io::Error::other("the lock has to be renewed first")).into());
                    }
                    Err(lost) => return Err(Fault::lasting(lost.kind, lost).into()),
                }
            }
            attempt(rpc, number)
        })
    }

    /// Throws away what is known of the export: it will be mounted again.
    pub fn forget(&self) {
        *guard(&self.mounted) = None;
        self.data.forget_idle();
        self.locks.forget_idle();
    }

    /// A new connection, to an export that is mounted.
    fn connect(&self) -> Result<Rpc, Fault> {
        let known = guard(&self.mounted).clone();
        if let Some(mounted) = known {
            match self.connect_to(mounted.port) {
                Ok(rpc) => return Ok(rpc),
                Err(fault) => {
                    // It may have moved to another port, where it was not told which.
                    if self.address.port.is_none() {
                        *guard(&self.mounted) = None;
                    }
                    return Err(fault);
                }
            }
        }
        let (mount_port, port) = self.ports()?;
        let found = self.mount_path(mount_port, port)?;
        Ok(found)
    }

    fn connect_to(&self, port: u16) -> Result<Rpc, Fault> {
        let socket = self.socket(port)?;
        let clock = socket.clock();
        let client = Nfs3Client::new_with_auth(socket, self.credential.clone(), opaque_auth::default());
        Ok(Rpc::new(client, clock))
    }

    fn socket(&self, port: u16) -> Result<Socket, Fault> {
        let is_root = rustix::process::geteuid().is_root();
        Socket::connect(&self.line, &self.address.host, port, is_root).map_err(|error| {
            let text = format!("connecting to {}: {error}", crate::host_and_port(&self.address.host, Some(port)));
            Fault::passing(io::Error::new(error.kind(), text))
        })
    }

    /// The ports of mount and NFS service.
    fn ports(&self) -> Result<(u16, u16), Fault> {
        if let (Some(mount), Some(nfs)) = (self.address.mount_port, self.address.port) {
            return Ok((mount, nfs));
        }
        let mut portmapper = PortmapperClient::new(self.socket(PMAP_PORT)?);
        let mount = match self.address.mount_port {
            Some(port) => port,
            None => ready(portmapper.getport(mount::PROGRAM, mount::VERSION, TCP))
                .map_err(|error| of_portmap(error, "mount service for NFS version 3"))?,
        };
        let nfs = match self.address.port {
            Some(port) => port,
            None => ready(portmapper.getport(nfs3::PROGRAM, nfs3::VERSION, TCP))
                .map_err(|error| of_portmap(error, "NFS version 3"))?,
        };
        Ok((mount, nfs))
    }

    /// Mounts the export that holds the path, and finds the directory in it. Some servers mount only the exports
    /// themselves, others any directory below them.
    fn mount_path(&self, mount_port: u16, port: u16) -> Result<Rpc, Fault> {
        let mut client =
            MountClient::new_with_auth(self.socket(mount_port)?, self.credential.clone(), opaque_auth::default());
        let mut refused = None;
        let mut export = self.address.path.as_str();
        let handle = loop {
            match ready(client.mnt(dirpath(Opaque::borrowed(export.as_bytes())))) {
                Ok(mounted) => break Handle { data: mounted.fhandle.0 },
                Err(error @ MountError::Rpc(_)) => return Err(of_mount(error, export)),
                Err(error) => {
                    let fault = of_mount(error, export);
                    if fault.can_pass {
                        return Err(fault);
                    }
                    // What is told is what was asked for.
                    let first = refused.get_or_insert(fault);
                    match export.rsplit_once('/') {
                        Some((above, _)) if !above.is_empty() => export = above,
                        _ => return Err(Fault::lasting(first.kind, first.source.to_string())),
                    }
                }
            }
        };
        let mut rpc = self.connect_to(port)?;
        let root = self.find_below(&mut rpc, handle, export)?;
        let attributes = rpc.attributes(&root).map_err(Fault::from)?;
        if attributes.type_ != ftype3::NF3DIR {
            let text = format!("{} is no directory on the server", self.address.path);
            return Err(Fault::lasting(StoreErrorKind::NoExport, text));
        }
        let id = FileId::from(&attributes);
        let first = *guard(&self.root_id).get_or_insert(id);
        if first != id {
            let text = format!("{} is another directory than before on the server", self.address.path);
            return Err(Fault::passing(io::Error::other(text)));
        }
        let information = rpc.information(&root).map_err(Fault::from)?;
        let clamp = |most: u32| if most == 0 { REQUEST_LIMIT } else { most.min(REQUEST_LIMIT) };
        let (read_bytes, write_bytes) = (clamp(information.rtmax), clamp(information.wtmax));
        *guard(&self.mounted) = Some(Mounted { root, port, read_bytes, write_bytes });
        Ok(rpc)
    }

    fn find_below(&self, rpc: &mut Rpc, mut handle: Handle, export: &str) -> Result<Handle, Fault> {
        let below = self.address.path.strip_prefix(export).unwrap_or_default();
        for name in below.split('/').filter(|name| !name.is_empty()) {
            handle = match rpc.lookup(&handle, name) {
                Ok((found, _)) => found,
                Err(Trouble::Status(nfsstat3::NFS3ERR_NOENT | nfsstat3::NFS3ERR_NOTDIR)) => {
                    let text = format!("the export {export} has no directory {below}");
                    return Err(Fault::lasting(StoreErrorKind::NoExport, text));
                }
                Err(other) => return Err(other.into()),
            };
        }
        Ok(handle)
    }
}

/// Who the server is told that this is.
fn credential(address: &NfsAddress) -> opaque_auth<'static> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let is_own = address.uid.is_none_or(|uid| uid == own.0) && address.gid.is_none_or(|gid| gid == own.1);
    let groups = if is_own { rustix::process::getgroups().unwrap_or_default() } else { Vec::new() };
    let name = rustix::system::uname().nodename().to_bytes().iter().copied().take(255).collect();
    opaque_auth::auth_unix(&auth_unix {
        stamp: 0,
        machinename: Opaque::owned(name),
        uid: address.uid.unwrap_or(own.0),
        gid: address.gid.unwrap_or(own.1),
        gids: groups.into_iter().take(GROUPS_LIMIT).map(rustix::process::Gid::as_raw).collect(),
    })
}

/// Connections that are not in use, and how many may be.
struct Pool {
    state: Mutex<PoolState>,
    freed: Condvar,
}

struct PoolState {
    idle: Vec<Rpc>,
    free: usize,
}

/// The right to use one connection.
struct Slot<'a> {
    pool: &'a Pool,
    idle: Option<Rpc>,
}

impl Pool {
    fn new(limit: usize) -> Self {
        Self { state: Mutex::new(PoolState { idle: Vec::new(), free: limit }), freed: Condvar::new() }
    }

    /// Waits for the right to use a connection. Whoever has one gives it back in time.
    fn take(&self) -> Slot<'_> {
        let mut state = guard(&self.state);
        while state.free == 0 {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.free = state.free.saturating_sub(1);
        let idle = state.idle.pop();
        Slot { pool: self, idle }
    }

    fn forget_idle(&self) {
        let idle = std::mem::take(&mut guard(&self.state).idle);
        drop(idle);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = guard(&self.pool.state);
        state.free = state.free.saturating_add(1);
        state.idle.extend(self.idle.take());
        drop(state);
        self.pool.freed.notify_one();
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
