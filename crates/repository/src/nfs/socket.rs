//! A connection to a server under control: names are resolved, nothing waits for ever, and an end is an error.
//!
//! The client crate is asynchronous. Here its futures are run by [`ready`] over a socket whose calls wait in the
//! thread itself, with a deadline and an eye on the operator: so none of them is ever given up half-way, and no
//! runtime is needed.
//!
//! Source: RFC 5531, section 11 (record marking).

use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::patience::{Line, TICK};

/// No reply that was asked for is larger: 1 MiB of data and its frame.
const REPLY_LIMIT: usize = 2 << 20;
/// What stands before each fragment: its length, and whether it is the last.
const HEADER_BYTES: usize = 4;
const LAST_FRAGMENT: u32 = 0x8000_0000;
/// After this time without an answer the operator is told.
const SLOW: Duration = Duration::from_secs(10);
/// How long a call still waits after the operator wanted to stop.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// A connection that is silent for this long is probed, and again each such time.
const PROBE: Duration = Duration::from_secs(10);
/// The ports from which servers believe the user id that they are told.
const PRIVILEGED_PORTS: std::ops::RangeInclusive<u16> = 665..=1023;

/// Runs a future that never has to wait, because the sockets below it wait themselves.
pub fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        // It is ready the first time: nothing in it hands its thread over.
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        std::thread::yield_now();
    }
}

/// What is being done on a connection, and since when nothing has moved.
#[derive(Clone)]
pub struct Clock(Arc<Mutex<(Instant, &'static str)>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), "connecting"))))
    }

    /// A call begins.
    pub fn begin(&self, operation: &'static str) {
        *self.get() = (Instant::now(), operation);
    }

    fn moved(&self) {
        self.get().0 = Instant::now();
    }

    fn get(&self) -> MutexGuard<'_, (Instant, &'static str)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that gives up in time.
pub struct Socket {
    stream: TcpStream,
    line: Arc<Line>,
    clock: Clock,
    /// What is kept of the reply that is being read, as one fragment, and how much of that was handed on.
    reply: Vec<u8>,
    position: usize,
    /// Bytes of the reply that come behind that, straight from the server.
    behind: usize,
}

impl Socket {
    /// Connects to one of the addresses of a host.
    ///
    /// # Errors
    /// The last that happened, after all addresses were tried.
    pub fn connect(line: &Arc<Line>, host: &str, port: u16, is_privileged: bool) -> io::Result<Self> {
        let clock = Clock::new();
        let mut failed = io::Error::new(ErrorKind::NotFound, format!("{host} has no address"));
        for address in resolve(line, &clock, host, port)? {
            match connect(line, &clock, address, is_privileged) {
                Ok(stream) => {
                    return Ok(Self { stream, line: line.clone(), clock, reply: Vec::new(), position: 0, behind: 0 });
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Its clock, for whoever makes calls on it.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Reads the beginning of a reply. One in several fragments is read to its end, and put together.
    fn read_reply(&mut self) -> io::Result<()> {
        self.position = 0;
        self.reply.clear();
        self.reply.extend([0; HEADER_BYTES]);
        loop {
            let mut header = [0; HEADER_BYTES];
            self.read_exact(&mut header)?;
            let header = u32::from_be_bytes(header);
            let length = usize::try_from(header & !LAST_FRAGMENT).unwrap_or(usize::MAX);
            let start = self.reply.len();
            let end = start.saturating_add(length);
            if end > REPLY_LIMIT {
                let text = format!("a reply of {end} bytes, at most {REPLY_LIMIT} are expected");
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            }
            if header & LAST_FRAGMENT != 0 && start == HEADER_BYTES {
                self.behind = length;
                break;
            }
            let mut reply = std::mem::take(&mut self.reply);
            reply.resize(end, 0);
            let read = self.read_exact(reply.get_mut(start..).unwrap_or_default());
            self.reply = reply;
            read?;
            if header & LAST_FRAGMENT != 0 {
                break;
            }
        }
        let length = self.reply.len().saturating_sub(HEADER_BYTES).saturating_add(self.behind);
        let header = (u32::try_from(length).unwrap_or(u32::MAX) | LAST_FRAGMENT).to_be_bytes();
        self.reply.get_mut(..HEADER_BYTES).unwrap_or_default().copy_from_slice(&header);
        Ok(())
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.read_some(buffer)?;
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                // The client crate would try again for ever.
                Ok(0) => {
                    return Err(io::Error::new(ErrorKind::ConnectionAborted, "the server closed the connection"));
                }
                Ok(count) => {
                    self.clock.moved();
                    return Ok(count);
                }
                Err(error) => self.after(error)?,
            }
        }
    }

    /// Whether a socket call that did not succeed may be repeated.
    fn after(&self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut
                if error.raw_os_error() != Some(Errno::TIMEDOUT.raw_os_error()) =>
            {
                check_time(&self.line, &self.clock)
            }
            ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        }
    }
}

impl nfs3_client::io::AsyncRead for Socket {
    async fn async_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.position >= self.reply.len() {
            if self.behind > 0 {
                let most = buffer.len().min(self.behind);
                let count = self.read_some(buffer.get_mut(..most).unwrap_or_default())?;
                self.behind = self.behind.saturating_sub(count);
                return Ok(count);
            }
            self.read_reply()?;
        }
        let rest = self.reply.get(self.position..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.position = self.position.saturating_add(count);
        Ok(count)
    }
}

impl nfs3_client::io::AsyncWrite for Socket {
    async fn async_write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.write(buffer) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.clock.moved();
                    return Ok(count);
                }
                Err(error) => self.after(error)?,
            }
        }
    }
}

/// Whether a call may wait on.
fn check_time(line: &Line, clock: &Clock) -> io::Result<()> {
    let (moved, operation) = *clock.get();
    let waited = moved.elapsed();
    if line.is_cancelled() && waited >= LAST_WAIT {
        return Err(io::Error::new(ErrorKind::TimedOut, "no answer when the work was stopped"));
    }
    if waited >= line.call_deadline() {
        return Err(io::Error::new(ErrorKind::TimedOut, format!("no answer for {} s", waited.as_secs())));
    }
    if waited >= SLOW {
        line.is_slow(operation, waited);
    }
    Ok(())
}

/// The addresses of a host. The system's resolver can't be interrupted; a thread of its own waits for it.
fn resolve(line: &Line, clock: &Clock, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (answer, answered) = mpsc::channel();
    let name = host.to_owned();
    std::thread::Builder::new().name("resolve".into()).spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody waits any more, it may be.
        let _ = answer.send(found);
    })?;
    loop {
        match answered.recv_timeout(TICK) {
            Ok(found) => {
                let text = |error: io::Error| io::Error::new(ErrorKind::NotFound, format!("the name {host}: {error}"));
                return found.map_err(text);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => check_time(line, clock)?,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(ErrorKind::NotFound.into()),
        }
    }
}

fn connect(line: &Line, clock: &Clock, address: SocketAddr, is_privileged: bool) -> io::Result<TcpStream> {
    if is_privileged {
        // Begun somewhere else each time, so that the ports of the last minute are met rarely.
        let mut random = [0; 2];
        let _ = getrandom::fill(&mut random);
        let first = usize::from(u16::from_le_bytes(random)).checked_rem(PRIVILEGED_PORTS.len()).unwrap_or_default();
        for port in PRIVILEGED_PORTS.cycle().skip(first).take(PRIVILEGED_PORTS.len()) {
            match connect_from(line, clock, address, Some(port)) {
                Err(error) if is_taken(&error) => {}
                // Not root after all.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => break,
                other => return other,
            }
        }
    }
    connect_from(line, clock, address, None)
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable)
}

fn connect_from(line: &Line, clock: &Clock, address: SocketAddr, port: Option<u16>) -> io::Result<TcpStream> {
    let (family, any) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        SocketAddr::V6(_) => (AddressFamily::INET6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(port) = port {
        rustix::net::bind(&socket, &SocketAddr::new(any, port))?;
    }
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, PROBE)?;
    sockopt::set_tcp_keepintvl(&socket, PROBE)?;
    let longest = u32::try_from(line.patience().call_deadline.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(&socket, longest)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => loop {
            let mut events = [PollFd::new(&socket, PollFlags::OUT)];
            let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
            match poll(&mut events, Some(&tick)) {
                Ok(0) | Err(Errno::INTR) => check_time(line, clock)?,
                Ok(_) => {
                    sockopt::socket_error(&socket)??;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        },
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    // Each wait is short, so that the time and the operator's wish are looked at between them.
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(TICK))?;
    clock.moved();
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::patience::{Patience, Watch};

    fn line(call_deadline: Duration) -> Arc<Line> {
        let line = Line::new(Patience { call_deadline, ..Patience::default() }, Watch::default());
        line.opened();
        Arc::new(line)
    }

    /// A socket whose server sends these bytes, and then keeps the connection open or closes it.
    fn socket(bytes: &'static [u8], is_kept: bool, line: &Arc<Line>) -> Socket {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(bytes).unwrap();
            // Until the client goes away.
            while is_kept && stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        });
        Socket::connect(line, "localhost", port, false).unwrap()
    }

    fn read(socket: &mut Socket, length: usize) -> io::Result<Vec<u8>> {
        use nfs3_client::io::AsyncRead;
        let mut bytes = vec![0; length];
        ready(socket.async_read_exact(&mut bytes))?;
        Ok(bytes)
    }

    #[test]
    fn fragments_of_a_reply_are_put_together() {
        let bytes = b"\x00\x00\x00\x04abcd\x00\x00\x00\x00\x80\x00\x00\x02ef\x80\x00\x00\x01g";
        let mut socket = socket(bytes, true, &line(Duration::from_secs(30)));
        assert_eq!(read(&mut socket, 10).unwrap(), b"\x80\x00\x00\x06abcdef");
        assert_eq!(read(&mut socket, 5).unwrap(), b"\x80\x00\x00\x01g");
    }

    #[test]
    fn an_end_is_an_error_at_once() {
        let mut socket = socket(b"\x80\x00\x00\x04ab", false, &line(Duration::from_secs(3600)));
        assert_eq!(read(&mut socket, 8).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }

    #[test]
    fn a_reply_of_one_fragment_ends_where_it_says() {
        let mut socket = socket(b"\x80\x00\x00\x04abcd\x80\x00\x00\x01e", true, &line(Duration::from_secs(30)));
        assert_eq!(read(&mut socket, 6).unwrap(), b"\x80\x00\x00\x04ab");
        assert_eq!(read(&mut socket, 2).unwrap(), b"cd");
        assert_eq!(read(&mut socket, 5).unwrap(), b"\x80\x00\x00\x01e");
    }

    #[test]
    fn a_reply_is_not_believed_to_be_endless() {
        let mut socket = socket(b"\xff\xff\xff\xff", true, &line(Duration::from_secs(30)));
        let error = read(&mut socket, 4).unwrap_err();
        assert_eq!(error.to_string(), "a reply of 2147483651 bytes, at most 2097152 are expected");
    }

    #[test]
    fn silence_ends_with_the_deadline() {
        let began = Instant::now();
        let mut socket = socket(b"", true, &line(Duration::from_millis(150)));
        assert_eq!(read(&mut socket, 4).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(began.elapsed() >= Duration::from_millis(150));
    }

    #[test]
    fn nobody_listening_is_an_error_and_so_is_an_unknown_name() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let line = line(Duration::from_secs(30));
        let refused = Socket::connect(&line, "127.0.0.1", free, false).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(Socket::connect(&line, "name.invalid", free, false).is_err());
    }
}
