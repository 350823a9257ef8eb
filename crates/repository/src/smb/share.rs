//! A share that is connected and logged in to, and the requests that a store needs of it.
//!
//! Every request has the deadline of the line. One that got no answer in time, or an answer that says that the
//! server has forgotten this connection, breaks the connection for good: a new one is made then.
//!
//! Source: [MS-SMB2] 2.2 (messages), 3.2.4.1.5 (credits); [MS-FSCC] 2.4 (information classes).

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use image::{Entry, StoreError, StoreErrorKind};
use smb2::client::{Cipher, Connection, Session};
use smb2::msg::close::CloseRequest;
use smb2::msg::create::{CreateDisposition, CreateRequest, CreateResponse, ImpersonationLevel, ShareAccess};
use smb2::msg::flush::FlushRequest;
use smb2::msg::query_info::InfoType;
use smb2::msg::read::{ReadRequest, ReadResponse};
use smb2::msg::set_info::SetInfoRequest;
use smb2::msg::write::WriteResponse;
use smb2::pack::{Pack, ReadCursor, Unpack, WriteCursor};
use smb2::transport::ConnectOptions;
use smb2::types::flags::{Capabilities, FileAccessMask};
use smb2::types::status::NtStatus;
use smb2::types::{Command, CreditCharge, Dialect, FileId, OplockLevel, SessionId};
use smb2::{FileAttributes, Frame, RenameOptions, Tree};

use super::status::fault_of;
use super::transport::Transport;
use crate::address::{Secret, SmbAddress, host_and_port};
use crate::patience::{Fault, Line};
use crate::runtime::answer;

const DEFAULT_PORT: u16 = 445;
/// The most that one request carries. More brings nothing, and a slow link could not carry it before the deadline.
pub const REQUEST_LIMIT: u32 = 1 << 20;
/// A server that takes no connection for this long is down, and is tried again.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// What one credit pays for.
const CREDIT_BYTES: u32 = 64 << 10;
/// Requests of one read or write that are under way together.
pub const REQUESTS_AT_ONCE: usize = 8;
/// Who a guest says to be: some servers take this name but no empty one.
const GUEST: &str = "Guest";

const FILE_DIRECTORY_FILE: u32 = 0x01;
const FILE_NON_DIRECTORY_FILE: u32 = 0x40;
const FILE_LINK_INFORMATION: u8 = 11;
const INVALID_DEVICE_REQUEST: NtStatus = NtStatus(0xC000_0010);

/// A connection to a share. All requests may be made from several tasks at once.
pub struct Share {
    connection: Connection,
    tree: Tree,
    line: Arc<Line>,
    request_bytes: u32,
    is_broken: AtomicBool,
    transport: Arc<Transport>,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, to read.
    Read,
    /// An existing file, to go on writing.
    Write,
    /// A new file, empty; one of the same name is emptied.
    Replace,
}

/// An open file.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// What the server calls it on this connection.
    pub id: FileId,
    /// Its bytes when it was opened.
    pub size: u64,
}

impl Share {
    /// Connects, logs in and opens the share. Of the connection that it replaces, `previous`, the server carries out
    /// nothing any more: a request that lay somewhere must not undo what is done from now on.
    ///
    /// # Errors
    /// A fault that can pass where the server does not answer; `Login`, `NoExport`, `Denied` that stay.
    pub async fn connect(
        address: &SmbAddress,
        password: Option<&Secret>,
        line: &Arc<Line>,
        previous: Option<SessionId>,
    ) -> Result<Self, Fault> {
        let server = host_and_port(&address.host, Some(address.port.unwrap_or(DEFAULT_PORT)));
        let options = ConnectOptions::with_timeout(line.call_deadline().min(CONNECT_DEADLINE));
        let transport = Transport::connect(&server, options).await;
        let transport = transport.map_err(|error| fault_of(&error).0)?;
        let mut connection =
            answer(line, transport.negotiate(&address.host)).await?.map_err(|error| not_agreed(&error, previous))?;
        connection.set_response_timeout(Some(line.patience().call_deadline));
        connection.set_send_timeout(Some(line.patience().call_deadline));
        let dialect = connection.params().map_or(Dialect::Smb2_0_2, |params| params.dialect);
        if dialect < Dialect::Smb2_1 {
            let text = "the server speaks SMB 2.0 at most; SMB 2.1 or newer is needed";
            return Err(Fault::lasting(StoreErrorKind::Io, text));
        }
        if let Some(previous) = previous {
            connection.set_previous_session_id(previous);
        }
        let session = answer(line, log_in(&mut connection, address, password)).await??;
        let tree = answer(line, Tree::connect(&mut connection, &address.share)).await?;
        let tree = tree.map_err(|error| not_let_in(&error, &connection, &address.share))?;
        if (tree.encrypt_data || address.must_encrypt) && !connection.should_encrypt() {
            encrypt(&mut connection, session)?;
        }
        let request_bytes = request_bytes(&connection);
        let is_broken = AtomicBool::new(false);
        Ok(Self { connection, tree, line: line.clone(), request_bytes, is_broken, transport })
    }

    /// What the server calls this connection's login.
    pub fn session(&self) -> SessionId {
        self.connection.session_id()
    }

    /// Whether a new connection is needed.
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// A refusal of something that changes the share: where nobody may do that, it says so.
    pub fn refusal_of_change(&self, fault: Fault) -> Fault {
        let is_read_only = fault.kind == StoreErrorKind::Denied && self.transport.is_read_only();
        let kind = if is_read_only { StoreErrorKind::ReadOnly } else { fault.kind };
        Fault { kind, ..fault }
    }

    /// The most that one write or read carries.
    pub fn request_bytes(&self) -> u32 {
        self.request_bytes
    }

    /// Ends the connection without a word.
    pub fn break_off(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
        self.connection.mark_dead();
    }

    /// Opens a file. Others may open, rename and remove it meanwhile.
    pub async fn open(&self, path: &str, how: Open) -> Result<Opened, Fault> {
        let (access, disposition) = match how {
            Open::Read => (FileAccessMask::FILE_READ_DATA, CreateDisposition::FileOpen),
            Open::Write => (FileAccessMask::FILE_WRITE_DATA, CreateDisposition::FileOpen),
            Open::Replace => (FileAccessMask::FILE_WRITE_DATA, CreateDisposition::FileOverwriteIf),
        };
        self.open_as(path, access, disposition, FILE_NON_DIRECTORY_FILE).await
    }

    async fn open_as(
        &self,
        path: &str,
        access: u32,
        create_disposition: CreateDisposition,
        create_options: u32,
    ) -> Result<Opened, Fault> {
        let request = CreateRequest {
            requested_oplock_level: OplockLevel::None,
            impersonation_level: ImpersonationLevel::Impersonation,
            desired_access: FileAccessMask::new(
                access | FileAccessMask::FILE_READ_ATTRIBUTES | FileAccessMask::SYNCHRONIZE,
            ),
            file_attributes: FileAttributes::NORMAL,
            share_access: ShareAccess(
                ShareAccess::FILE_SHARE_READ | ShareAccess::FILE_SHARE_WRITE | ShareAccess::FILE_SHARE_DELETE,
            ),
            create_disposition,
            create_options,
            name: self.wire_name(path),
            create_contexts: Vec::new(),
        };
        let response: CreateResponse = self.request(Command::Create, &request, 1).await?;
        Ok(Opened { id: response.file_id, size: response.end_of_file })
    }

    /// A path as the server wants it; in a distributed file system it begins with server and share.
    fn wire_name(&self, path: &str) -> String {
        let name = smb2::encode_path(path);
        match (self.tree.is_dfs, name.is_empty()) {
            (false, _) => name,
            (true, true) => format!("{}\\{}", self.tree.server, self.tree.share_name),
            (true, false) => format!("{}\\{}\\{name}", self.tree.server, self.tree.share_name),
        }
    }

    /// Closes a file.
    pub async fn close(&self, id: FileId) -> Result<(), Fault> {
        self.send(Command::Close, &CloseRequest { flags: 0, file_id: id }, 1).await.map(drop)
    }

    /// Writes `bytes`, at most those of one request, at `offset`.
    pub async fn write(&self, id: FileId, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let request = WriteRequest { id, offset, bytes };
        let response: WriteResponse = self.request(Command::Write, &request, charge(bytes.len())).await?;
        if usize::try_from(response.count).ok() == Some(bytes.len()) {
            return Ok(());
        }
        let text = format!("the server took {} of {} bytes", response.count, bytes.len());
        Err(Fault::lasting(StoreErrorKind::NoSpace, text))
    }

    /// Writes all of `bytes` at `offset`, several requests at once.
    pub async fn write_all(&self, id: FileId, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let piece = usize::try_from(self.request_bytes).unwrap_or(usize::MAX);
        let parts = bytes.chunks(piece.max(1)).scan(offset, |next, part| {
            let offset = *next;
            *next = next.saturating_add(length_of(part));
            Some((offset, part))
        });
        let writes = stream::iter(parts.map(|(offset, part)| self.write(id, offset, part)));
        writes.buffer_unordered(REQUESTS_AT_ONCE).try_collect().await
    }

    /// Returns when everything written is on stable storage.
    pub async fn flush(&self, id: FileId) -> Result<(), Fault> {
        self.send(Command::Flush, &FlushRequest { file_id: id }, 1).await.map(drop)
    }

    /// Fills `buffer` from `offset`.
    pub async fn read(&self, id: FileId, offset: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let piece = usize::try_from(self.request_bytes).unwrap_or(usize::MAX);
        let parts = buffer.chunks_mut(piece.max(1)).scan(offset, |next, part| {
            let offset = *next;
            *next = next.saturating_add(length_of(part));
            Some((offset, part))
        });
        let reads = stream::iter(parts.map(|(offset, part)| self.read_part(id, offset, part)));
        reads.buffer_unordered(REQUESTS_AT_ONCE).try_collect().await
    }

    async fn read_part(&self, id: FileId, mut offset: u64, mut buffer: &mut [u8]) -> Result<(), Fault> {
        while !buffer.is_empty() {
            let request = ReadRequest {
                padding: 0x50,
                flags: 0,
                length: u32::try_from(buffer.len()).unwrap_or(u32::MAX),
                offset,
                file_id: id,
                minimum_count: 0,
                channel: 0,
                remaining_bytes: 0,
                read_channel_info: Vec::new(),
            };
            let response: ReadResponse = self.request(Command::Read, &request, charge(buffer.len())).await?;
            let count = response.data.len();
            let wanted = buffer.len();
            let Some((part, rest)) = buffer.split_at_mut_checked(count).filter(|_| count > 0) else {
                let text = format!("the server sent {count} of {wanted} bytes");
                let kind = if count == 0 { StoreErrorKind::Truncated } else { StoreErrorKind::Io };
                return Err(Fault::lasting(kind, text));
            };
            part.copy_from_slice(&response.data);
            offset = offset.saturating_add(length_of(part));
            buffer = rest;
        }
        Ok(())
    }

    /// The size of a file.
    pub async fn size(&self, path: &str) -> Result<u64, Fault> {
        Ok(self.call(self.tree.stat(&mut self.connection.clone(), path)).await?.size)
    }

    /// Whether there is a directory of that name.
    pub async fn is_directory(&self, path: &str) -> Result<bool, Fault> {
        match self.call(self.tree.stat(&mut self.connection.clone(), path)).await {
            Err(fault) if fault.kind == StoreErrorKind::NotFound => Ok(false),
            other => other.map(|found| found.is_directory),
        }
    }

    /// The names in a directory, in ascending order.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, Fault> {
        let entries = self.call(self.tree.list_directory(&mut self.connection.clone(), path)).await?;
        let entries = entries.into_iter().filter(|entry| entry.name != "." && entry.name != "..");
        let entries: BTreeSet<_> = entries
            .map(|entry| Entry {
                size: if entry.is_directory { 0 } else { entry.size },
                name: entry.name,
                is_directory: entry.is_directory,
            })
            .collect();
        Ok(entries.into_iter().collect())
    }

    /// Gives a file another name, in one step.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken and must not be.
    pub async fn rename(&self, from: &str, to: &str, may_replace: bool) -> Result<(), Fault> {
        let options = RenameOptions::new().replace_if_exists(may_replace);
        self.call(self.tree.rename_with(&mut self.connection.clone(), from, to, options)).await
    }

    /// Gives a file a second name, which nobody can take at the same instant. `false` where the server or its file
    /// system knows no second names.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken.
    pub async fn link(&self, from: &str, to: &str) -> Result<bool, Fault> {
        let access = FileAccessMask::FILE_WRITE_ATTRIBUTES;
        let file = self.open_as(from, access, CreateDisposition::FileOpen, FILE_NON_DIRECTORY_FILE).await?;
        let request = SetInfoRequest {
            info_type: InfoType::File,
            file_info_class: FILE_LINK_INFORMATION,
            additional_information: 0,
            file_id: file.id,
            buffer: link_information(&smb2::encode_path(to)),
        };
        let sent =
            self.connection.execute_with_credits(Command::SetInfo, &request, Some(self.tree.tree_id), CreditCharge(1));
        let status = self.call(sent).await?.header.status;
        self.close(file.id).await?;
        match status {
            NtStatus::SUCCESS => Ok(true),
            NtStatus::NOT_SUPPORTED
            | NtStatus::NOT_IMPLEMENTED
            | NtStatus::INVALID_INFO_CLASS
            | NtStatus::INVALID_PARAMETER
            | INVALID_DEVICE_REQUEST => Ok(false),
            status => Err(self.note(&smb2::Error::Protocol { status, command: Command::SetInfo })),
        }
    }

    /// Removes a file.
    pub async fn remove(&self, path: &str) -> Result<(), Fault> {
        self.call(self.tree.delete_file(&mut self.connection.clone(), path)).await
    }

    /// Makes a directory; done where there is one.
    pub async fn make_directory(&self, path: &str) -> Result<(), Fault> {
        match self.call(self.tree.create_directory(&mut self.connection.clone(), path)).await {
            Err(fault) if fault.kind == StoreErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Makes the names in a directory stable, where the server can do that. A server that can't says so with one
    /// of several errors, and has then always done it before it answered the renaming.
    pub async fn flush_directory(&self, path: &str) -> Result<(), Fault> {
        let access = FileAccessMask::FILE_WRITE_DATA | FileAccessMask::FILE_APPEND_DATA;
        let done = async {
            let directory = self.open_as(path, access, CreateDisposition::FileOpen, FILE_DIRECTORY_FILE).await?;
            let flushed = self.flush(directory.id).await;
            self.close(directory.id).await?;
            flushed
        };
        match done.await {
            Err(fault) if !fault.can_pass => Ok(()),
            other => other,
        }
    }

    /// Bytes that this user can still write.
    pub async fn available_bytes(&self) -> Result<u64, Fault> {
        Ok(self.call(self.tree.fs_info(&mut self.connection.clone())).await?.free_bytes)
    }

    async fn request<T: Unpack>(&self, command: Command, body: &dyn Pack, charge: u16) -> Result<T, Fault> {
        let frame = self.send(command, body, charge).await?;
        let parsed = T::unpack(&mut ReadCursor::new(&frame.body));
        parsed.map_err(|error| self.note(&error))
    }

    async fn send(&self, command: Command, body: &dyn Pack, charge: u16) -> Result<Frame, Fault> {
        let sent = self.connection.execute_with_credits(command, body, Some(self.tree.tree_id), CreditCharge(charge));
        let frame = self.call(sent).await?;
        if frame.header.status == NtStatus::SUCCESS {
            return Ok(frame);
        }
        Err(self.note(&smb2::Error::Protocol { status: frame.header.status, command }))
    }

    /// Waits for a call of the library, and judges how it went.
    async fn call<T>(&self, call: impl Future<Output = smb2::Result<T>>) -> Result<T, Fault> {
        match answer(&self.line, call).await {
            Ok(Ok(done)) => {
                self.line.answered();
                Ok(done)
            }
            Ok(Err(error)) => Err(self.note(&error)),
            Err(late) => {
                self.break_off();
                Err(late)
            }
        }
    }

    fn note(&self, error: &smb2::Error) -> Fault {
        let (fault, is_broken) = fault_of(error);
        if is_broken {
            self.break_off();
        }
        fault
    }
}

/// WRITE request of [MS-SMB2] 2.2.21. That of the library would need a copy of the bytes of its own.
struct WriteRequest<'a> {
    id: FileId,
    offset: u64,
    bytes: &'a [u8],
}

impl Pack for WriteRequest<'_> {
    fn pack(&self, cursor: &mut WriteCursor) {
        cursor.write_u16_le(49); // StructureSize, which counts one byte of the data
        cursor.write_u16_le(0x70); // DataOffset: header and this
        cursor.write_u32_le(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        cursor.write_u64_le(self.offset);
        cursor.write_u64_le(self.id.persistent);
        cursor.write_u64_le(self.id.volatile);
        cursor.write_u32_le(0); // Channel
        cursor.write_u32_le(0); // RemainingBytes
        cursor.write_u16_le(0); // WriteChannelInfoOffset
        cursor.write_u16_le(0); // WriteChannelInfoLength
        cursor.write_u32_le(0); // Flags
        cursor.write_bytes(self.bytes);
    }
}

async fn log_in(
    connection: &mut Connection,
    address: &SmbAddress,
    password: Option<&Secret>,
) -> Result<Session, Fault> {
    let domain = address.domain.as_deref().unwrap_or_default();
    let password = password.map_or("", Secret::reveal);
    let (user, password) = address.user.as_deref().map_or((GUEST, ""), |user| (user, password));
    let session = Session::setup(connection, user, password, domain).await;
    session.map_err(|error| {
        let (fault, _) = fault_of(&error);
        match fault.kind {
            StoreErrorKind::Denied if !can_encrypt(connection) => not_encrypted(format!(
                "the server refuses this user, or demands encryption that was not agreed on: {}",
                fault.source
            )),
            _ => fault,
        }
    })
}

/// A server that is older than SMB 2 ends the conversation, or says nothing that makes sense. One that was spoken
/// with before is only being started.
fn not_agreed(error: &smb2::Error, previous: Option<SessionId>) -> Fault {
    let (fault, _) = fault_of(error);
    let text = format!("the server agrees on no dialect of SMB 2 or 3, or only speaks SMB 1: {}", fault.source);
    match previous {
        Some(_) => Fault { source: io::Error::new(fault.source.kind(), text), ..fault },
        None => Fault::lasting(StoreErrorKind::Io, text),
    }
}

/// A share that demands encryption refuses who can't encrypt, and says nothing of why.
fn not_let_in(error: &smb2::Error, connection: &Connection, share: &str) -> Fault {
    let (fault, _) = fault_of(error);
    let text = match fault.kind {
        StoreErrorKind::NoExport => format!("the server has no share {share}: {}", fault.source),
        StoreErrorKind::Denied if !can_encrypt(connection) => {
            return not_encrypted(format!(
                "the share {share} refuses this user, or demands encryption that was not agreed on: {}",
                fault.source
            ));
        }
        _ => return fault,
    };
    Fault { source: io::Error::new(fault.source.kind(), text), ..fault }
}

/// Encryption is demanded, or may be, and none was agreed on: the reason of an error of the kind `Denied`. Another
/// client may agree with the server.
#[derive(Debug)]
pub struct EncryptionNotAgreed(String);

impl fmt::Display for EncryptionNotAgreed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for EncryptionNotAgreed {}

impl EncryptionNotAgreed {
    /// Whether this is why a share could not be opened.
    pub fn is_reason_of(error: &StoreError) -> bool {
        error.source.get_ref().is_some_and(|reason| reason.is::<Self>())
    }
}

fn not_encrypted(text: String) -> Fault {
    Fault::lasting(StoreErrorKind::Denied, EncryptionNotAgreed(text))
}

fn can_encrypt(connection: &Connection) -> bool {
    connection
        .params()
        .is_some_and(|params| params.cipher.is_some() || params.capabilities.contains(Capabilities::ENCRYPTION))
}

/// Encrypts everything from now on, as the share demands it.
fn encrypt(connection: &mut Connection, session: Session) -> Result<(), Fault> {
    let agreed = connection.params().and_then(|params| params.cipher);
    match (can_encrypt(connection), session.encryption_key, session.decryption_key) {
        (true, Some(there), Some(back)) => {
            // SMB 3.0 knows one cipher and does not name it.
            connection.activate_encryption(there, back, agreed.unwrap_or(Cipher::Aes128Ccm));
            Ok(())
        }
        _ => {
            let text = "encryption is demanded, and the server agreed on none; mount the share, and give the directory";
            Err(not_encrypted(text.to_owned()))
        }
    }
}

/// FileLinkInformation of [MS-FSCC] 2.4.27.2, where a name that is taken stays.
fn link_information(name: &str) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut buffer = vec![0; 16];
    buffer.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
    buffer.extend_from_slice(&name);
    // The structure is never shorter, however short the name.
    buffer.resize(buffer.len().max(24), 0);
    buffer
}

fn request_bytes(connection: &Connection) -> u32 {
    let Some(params) = connection.params() else { return CREDIT_BYTES };
    let most = if params.capabilities.contains(Capabilities::LARGE_MTU) { REQUEST_LIMIT } else { CREDIT_BYTES };
    most.min(params.max_write_size).min(params.max_read_size).max(1)
}

/// Credits that a request of so many bytes costs.
fn charge(bytes: usize) -> u16 {
    let credits = bytes.div_ceil(usize::try_from(CREDIT_BYTES).unwrap_or(usize::MAX));
    u16::try_from(credits).unwrap_or(u16::MAX).max(1)
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::status;
    use super::*;

    #[test]
    fn a_credit_pays_for_64_kib() {
        let expected = [(0, 1), (1, 1), (65_536, 1), (65_537, 2), (1 << 20, 16)];
        assert!(expected.iter().all(|(bytes, credits)| charge(*bytes) == *credits));
    }

    #[test]
    fn a_write_is_spelled_as_the_library_spells_it() {
        let (id, offset, bytes) = (FileId { persistent: 7, volatile: 9 }, 1 << 40, b"bytes".as_slice());
        let mut own = WriteCursor::new();
        WriteRequest { id, offset, bytes }.pack(&mut own);
        let of_the_library = smb2::msg::write::WriteRequest {
            data_offset: 0x70,
            offset,
            file_id: id,
            channel: 0,
            remaining_bytes: 0,
            write_channel_info_offset: 0,
            write_channel_info_length: 0,
            flags: 0,
            data: bytes.to_vec(),
        };
        let mut other = WriteCursor::new();
        of_the_library.pack(&mut other);
        assert_eq!(own.into_inner(), other.into_inner());
    }

    #[test]
    fn a_second_name_is_spelled_as_specified() {
        let expected = [[0; 16].as_slice(), &[8, 0, 0, 0], &[b'a', 0, b'\\', 0, 0x87, 0x86, b'b', 0]].concat();
        assert_eq!(link_information("a\\\u{8687}b"), expected);
        assert_eq!(link_information("a").len(), 24);
    }

    #[test]
    fn what_is_no_smb_2_is_said_so() {
        let fault = not_agreed(&smb2::Error::Disconnected, Some(SessionId(1)));
        assert!(fault.can_pass);
        let fault = not_agreed(&smb2::Error::Disconnected, None);
        assert!(!fault.can_pass && fault.source.to_string().contains("SMB 1"), "{}", fault.source);
        assert_eq!(status::meaning(NtStatus::NOT_SUPPORTED), status::Meaning::Lasting(StoreErrorKind::Io));
    }
}
