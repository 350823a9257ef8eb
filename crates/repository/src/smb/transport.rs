//! The TCP connection under SMB. The library leaves one bit out of its offer to the server, and Samba takes the
//! offer at its word: without it no cipher is agreed on, and shares that demand encryption refuse every request.
//! So the bit is set on the way, and both messages are kept, as keys are derived from what was really exchanged.
//!
//! Source: [MS-SMB2] 2.2.1.2 (header), 2.2.3 (NEGOTIATE request), 2.2.10 (TREE_CONNECT response), 3.2.5.2 and 3.1.4.4.1 (hash of the exchange).

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use smb2::client::Connection;
use smb2::crypto::kdf::PreauthHasher;
use smb2::transport::{ConnectOptions, ReceiveProgress, TcpTransport, TransportReceive, TransportSend};

const PROTOCOL_ID: [u8; 4] = *b"\xfeSMB";
/// Where the command of a message is; NEGOTIATE is 0.
const COMMAND: std::ops::Range<usize> = 12..14;
const TREE_CONNECT: [u8; 2] = [3, 0];
/// Where the status of an answer is.
const STATUS: std::ops::Range<usize> = 8..12;
/// Where the access is in an answer to TREE_CONNECT: a header of 64 bytes, and 12 bytes of the answer.
const MAXIMAL_ACCESS: std::ops::Range<usize> = 76..80;
const FILE_WRITE_DATA: u32 = 0x2;
const FILE_APPEND_DATA: u32 = 0x4;
/// Where the capabilities of a NEGOTIATE request begin: a header of 64 bytes, and 8 bytes of the request.
const CAPABILITIES: usize = 72;
const CAPABILITY_ENCRYPTION: u8 = 0x40;

/// A connection to a server, before anything was said.
pub struct Transport {
    tcp: TcpTransport,
    negotiation: Mutex<Negotiation>,
    /// What this user may do on the share at most, where the server said it openly.
    maximal_access: Mutex<Option<u32>>,
}

/// The first message each way, as it went over the wire.
#[derive(Clone, Default)]
struct Negotiation {
    request: Option<Vec<u8>>,
    response: Option<Vec<u8>>,
}

/// One end of a [`Transport`], as the library wants to own it.
struct End(Arc<Transport>);

impl Transport {
    /// Connects to `server`, as `host:port`.
    ///
    /// # Errors
    /// Where none of its addresses answers in time.
    pub async fn connect(server: &str, options: ConnectOptions) -> smb2::Result<Arc<Self>> {
        let tcp = TcpTransport::connect_with(server, options).await?;
        Ok(Arc::new(Self { tcp, negotiation: Mutex::default(), maximal_access: Mutex::default() }))
    }

    /// Agrees with the server on a dialect, with encryption on offer.
    ///
    /// # Errors
    /// Those of the library.
    pub async fn negotiate(self: &Arc<Self>, host: &str) -> smb2::Result<Connection> {
        let mut connection = Connection::from_transport(Box::new(End(self.clone())), Box::new(End(self.clone())), host);
        connection.set_compression_requested(false);
        connection.negotiate().await?;
        let exchanged = self.negotiation.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(request), Some(response)) = (exchanged.request, exchanged.response) {
            connection.with_preauth_hasher_mut(|hasher| {
                *hasher = PreauthHasher::new();
                hasher.update(&request);
                hasher.update(&response);
            });
        }
        Ok(connection)
    }
}

impl Transport {
    /// Whether the server lets nobody write to the share who logs in as this user.
    pub fn is_read_only(&self) -> bool {
        let access = *self.maximal_access.lock().unwrap_or_else(PoisonError::into_inner);
        access.is_some_and(|access| access & (FILE_WRITE_DATA | FILE_APPEND_DATA) == 0)
    }
}

/// The access that an answer to TREE_CONNECT grants. The library keeps it to itself.
fn maximal_access(message: &[u8]) -> Option<u32> {
    let is_meant = message.starts_with(&PROTOCOL_ID) && message.get(COMMAND)? == TREE_CONNECT;
    let is_granted = message.get(STATUS)? == [0; 4];
    let access = message.get(MAXIMAL_ACCESS).filter(|_| is_meant && is_granted)?;
    Some(u32::from_le_bytes(access.try_into().ok()?))
}

/// The message with encryption on offer, where it is a NEGOTIATE request.
fn with_encryption_offered(message: &[u8]) -> Option<Vec<u8>> {
    if !message.starts_with(&PROTOCOL_ID) || message.get(COMMAND)? != [0, 0] {
        return None;
    }
    let mut message = message.to_vec();
    *message.get_mut(CAPABILITIES)? |= CAPABILITY_ENCRYPTION;
    Some(message)
}

#[async_trait]
impl TransportSend for End {
    async fn send(&self, data: &[u8]) -> smb2::Result<()> {
        match with_encryption_offered(data) {
            None => self.0.tcp.send(data).await,
            Some(request) => {
                self.0.negotiation.lock().unwrap_or_else(PoisonError::into_inner).request = Some(request.clone());
                self.0.tcp.send(&request).await
            }
        }
    }
}

#[async_trait]
impl TransportReceive for End {
    async fn receive(&self) -> smb2::Result<Vec<u8>> {
        let message = self.0.tcp.receive().await?;
        let mut negotiation = self.0.negotiation.lock().unwrap_or_else(PoisonError::into_inner);
        if negotiation.response.is_none() {
            negotiation.response = Some(message.clone());
        }
        drop(negotiation);
        if let Some(access) = maximal_access(&message) {
            *self.0.maximal_access.lock().unwrap_or_else(PoisonError::into_inner) = Some(access);
        }
        Ok(message)
    }

    fn receive_progress(&self) -> Option<Arc<ReceiveProgress>> {
        self.0.tcp.receive_progress()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(command: u8) -> Vec<u8> {
        let mut message = vec![0; 100];
        message[..4].copy_from_slice(&PROTOCOL_ID);
        message[12] = command;
        message[72] = 7;
        message
    }

    #[test]
    fn what_may_be_done_is_read_from_the_answer_that_grants_it() {
        let mut answer = message(3);
        answer[MAXIMAL_ACCESS].copy_from_slice(&0x0012_00a9_u32.to_le_bytes());
        assert_eq!(maximal_access(&answer), Some(0x0012_00a9));
        answer[8] = 0x22;
        assert_eq!(maximal_access(&answer), None, "a refusal");
        answer[8] = 0;
        assert!((0..80).all(|length| maximal_access(&answer[..length]).is_none()));
    }

    #[test]
    fn encryption_is_offered_in_a_negotiation_and_nothing_else_is_touched() {
        let mut expected = message(0);
        expected[72] = 0x47;
        assert_eq!(with_encryption_offered(&message(0)), Some(expected));
        assert_eq!(with_encryption_offered(&message(1)), None);
        assert_eq!(with_encryption_offered(b"\xfdSMB"), None);
        assert_eq!(maximal_access(&message(0)), None);
        for length in 0..73 {
            let cut = &message(0)[..length];
            assert_eq!(with_encryption_offered(cut).is_some(), length > 72, "{length}");
        }
    }
}
