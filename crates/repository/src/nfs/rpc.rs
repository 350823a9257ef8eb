//! The calls of NFS version 3 that a store needs, each on one connection, each answered in time.
//!
//! Source: RFC 1813.

use nfs3_client::Nfs3Client;
use nfs3_client::RpcError;
use nfs3_client::nfs3_types::nfs3::{
    COMMIT3args, CREATE3args, FSINFO3args, FSINFO3resok, FSSTAT3args, GETATTR3args, LINK3args, LOOKUP3args, MKDIR3args,
    Nfs3Option, Nfs3Result, READ3args, READDIRPLUS3args, READDIRPLUS3resok, REMOVE3args, RENAME3args, SETATTR3args,
    WRITE3args, cookieverf3, createhow3, diropargs3, fattr3, filename3, nfs_fh3, sattr3, stable_how,
};
use nfs3_client::nfs3_types::xdr_codec::Opaque;

use super::socket::{Clock, Socket, ready};
use super::status::{Trouble, of_rpc};

/// Bytes of names, and of names with their attributes, that one answer of a listing may have.
const LIST_NAMES_BYTES: u32 = 64 << 10;
const LIST_BYTES: u32 = 512 << 10;
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// The handle of a file or directory on the server.
pub type Handle = nfs_fh3;
/// What changes when a server restarts and may have forgotten what was not committed.
pub type Verifier = [u8; 8];

/// Which file it is, whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    fsid: u64,
    fileid: u64,
}

impl From<&fattr3> for FileId {
    fn from(attributes: &fattr3) -> Self {
        Self { fsid: attributes.fsid, fileid: attributes.fileid }
    }
}

/// What became of written bytes.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// How many the server took.
    pub count: usize,
    /// Whether they are on stable storage already.
    pub is_stable: bool,
    /// The state of the server that took them.
    pub verifier: Verifier,
}

/// One connection to the NFS service.
pub struct Rpc {
    client: Nfs3Client<Socket>,
    clock: Clock,
    is_broken: bool,
}

impl Rpc {
    /// Makes calls on a connection.
    pub fn new(client: Nfs3Client<Socket>, clock: Clock) -> Self {
        Self { client, clock, is_broken: false }
    }

    /// Whether a call on it failed: what comes next could be the answer to that call.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Notes what is being done, for the operator.
    pub fn begin(&mut self, operation: &'static str) {
        self.clock.begin(operation);
    }

    fn finish<T, E>(&mut self, answer: Result<Nfs3Result<T, E>, RpcError>) -> Result<T, Trouble> {
        match answer {
            Ok(Nfs3Result::Ok(answer)) => Ok(answer),
            Ok(Nfs3Result::Err((status, _))) => Err(Trouble::Status(status)),
            Err(error) => {
                self.is_broken = true;
                Err(Trouble::Fault(of_rpc(error)))
            }
        }
    }

    /// Handle and attributes of a name.
    pub fn lookup(&mut self, directory: &Handle, name: &str) -> Result<(Handle, fattr3), Trouble> {
        let answer = ready(self.client.lookup(&LOOKUP3args { what: place(directory, name) }));
        let found = self.finish(answer)?;
        let attributes = match found.obj_attributes {
            Nfs3Option::Some(attributes) => attributes,
            Nfs3Option::None => self.attributes(&found.object)?,
        };
        Ok((found.object, attributes))
    }

    /// Attributes of a file or directory.
    pub fn attributes(&mut self, handle: &Handle) -> Result<fattr3, Trouble> {
        let answer = ready(self.client.getattr(&GETATTR3args { object: handle.clone() }));
        Ok(self.finish(answer)?.obj_attributes)
    }

    /// Reads at most `count` bytes; tells whether the file ends behind them.
    pub fn read(&mut self, file: &Handle, offset: u64, count: u32) -> Result<(Vec<u8>, bool), Trouble> {
        let answer = ready(self.client.read(&READ3args { file: file.clone(), offset, count }));
        let read = self.finish(answer)?;
        Ok((read.data.into_owned(), read.eof))
    }

    /// Writes bytes, on stable storage or not.
    pub fn write(&mut self, file: &Handle, offset: u64, bytes: &[u8], is_stable: bool) -> Result<Written, Trouble> {
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let stable = if is_stable { stable_how::FILE_SYNC } else { stable_how::UNSTABLE };
        let data = Opaque::borrowed(bytes);
        let answer = ready(self.client.write(&WRITE3args { file: file.clone(), offset, count, stable, data }));
        let written = self.finish(answer)?;
        Ok(Written {
            count: usize::try_from(written.count).unwrap_or(usize::MAX),
            is_stable: written.committed != stable_how::UNSTABLE,
            verifier: written.verf.0,
        })
    }

    /// Makes everything stable that was written to a file; tells the state of the server that did.
    pub fn commit(&mut self, file: &Handle) -> Result<Verifier, Trouble> {
        let answer = ready(self.client.commit(&COMMIT3args { file: file.clone(), offset: 0, count: 0 }));
        Ok(self.finish(answer)?.verf.0)
    }

    /// Makes an empty file, or empties one of that name.
    pub fn create(&mut self, directory: &Handle, name: &str) -> Result<Handle, Trouble> {
        let attributes = sattr3 { mode: Nfs3Option::Some(FILE_MODE), size: Nfs3Option::Some(0), ..sattr3::default() };
        let how = createhow3::UNCHECKED(attributes);
        let answer = ready(self.client.create(&CREATE3args { where_: place(directory, name), how }));
        match self.finish(answer)?.obj {
            Nfs3Option::Some(handle) => Ok(handle),
            Nfs3Option::None => Ok(self.lookup(directory, name)?.0),
        }
    }

    /// Sets the size of a file.
    pub fn set_size(&mut self, file: &Handle, size: u64) -> Result<(), Trouble> {
        let new_attributes = sattr3 { size: Nfs3Option::Some(size), ..sattr3::default() };
        let arguments = SETATTR3args { object: file.clone(), new_attributes, guard: Nfs3Option::None };
        let answer = ready(self.client.setattr(&arguments));
        self.finish(answer).map(drop)
    }

    /// Makes a directory.
    pub fn make_directory(&mut self, directory: &Handle, name: &str) -> Result<(), Trouble> {
        let attributes = sattr3 { mode: Nfs3Option::Some(DIRECTORY_MODE), ..sattr3::default() };
        let answer = ready(self.client.mkdir(&MKDIR3args { where_: place(directory, name), attributes }));
        self.finish(answer).map(drop)
    }

    /// Gives a file another name, replacing a file of that name.
    pub fn rename(&mut self, from: (&Handle, &str), to: (&Handle, &str)) -> Result<(), Trouble> {
        let arguments = RENAME3args { from: place(from.0, from.1), to: place(to.0, to.1) };
        let answer = ready(self.client.rename(&arguments));
        self.finish(answer).map(drop)
    }

    /// Gives a file a second name, unless the name is taken.
    pub fn link(&mut self, file: &Handle, directory: &Handle, name: &str) -> Result<(), Trouble> {
        let answer = ready(self.client.link(&LINK3args { file: file.clone(), link: place(directory, name) }));
        self.finish(answer).map(drop)
    }

    /// Removes a name.
    pub fn remove(&mut self, directory: &Handle, name: &str) -> Result<(), Trouble> {
        let answer = ready(self.client.remove(&REMOVE3args { object: place(directory, name) }));
        self.finish(answer).map(drop)
    }

    /// A part of a directory, from `cookie` on.
    pub fn list(
        &mut self,
        directory: &Handle,
        cookie: u64,
        cookieverf: cookieverf3,
    ) -> Result<READDIRPLUS3resok<'static>, Trouble> {
        let (dir, dircount, maxcount) = (directory.clone(), LIST_NAMES_BYTES, LIST_BYTES);
        let arguments = READDIRPLUS3args { dir, cookie, cookieverf, dircount, maxcount };
        let answer = ready(self.client.readdirplus(&arguments));
        self.finish(answer)
    }

    /// What the server can do.
    pub fn information(&mut self, root: &Handle) -> Result<FSINFO3resok, Trouble> {
        let answer = ready(self.client.fsinfo(&FSINFO3args { fsroot: root.clone() }));
        self.finish(answer)
    }

    /// Bytes that this user can still write.
    pub fn available(&mut self, root: &Handle) -> Result<u64, Trouble> {
        let answer = ready(self.client.fsstat(&FSSTAT3args { fsroot: root.clone() }));
        Ok(self.finish(answer)?.abytes)
    }
}

fn place<'a>(directory: &Handle, name: &'a str) -> diropargs3<'a> {
    diropargs3 { dir: directory.clone(), name: filename3(Opaque::borrowed(name.as_bytes())) }
}
