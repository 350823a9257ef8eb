//! A TCP proxy in the test process, with the faults of real links under the test's control.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::wait::LIMIT;

/// How a socket to the server is made.
type Connect = Arc<dyn Fn() -> std::io::Result<TcpStream> + Send + Sync>;

/// A proxy in front of one port of a server. It listens on a free port of 127.0.0.1 and ends with this value.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    connect: Connect,
    faults: Mutex<Faults>,
    changed: Condvar,
    /// Bytes that have come from clients, over all connections.
    sent: AtomicU64,
    received: AtomicU64,
    answers: AtomicU64,
    accepted: AtomicU64,
    is_over: AtomicBool,
    links: Mutex<Vec<Arc<Link>>>,
    /// Until when the link is busy with what was sent before, in each direction.
    busy: Mutex<[Option<Instant>; 2]>,
}

#[derive(Clone, Default)]
struct Faults {
    is_refusing: bool,
    is_stalled: bool,
    /// From this many bytes of clients on everything is held back.
    stalls_at: Option<u64>,
    delay: Duration,
    /// Bytes a second, of each direction.
    rate: Option<u64>,
    /// Connections are cut, one after the other, when this many bytes have come from clients.
    cuts: VecDeque<u64>,
    /// Connections are cut instead of handing over these answers, counted over all connections.
    lost_answers: VecDeque<u64>,
    /// Which bytes of clients are held back, with all that follow them on their connection.
    held: Option<fn(&[u8]) -> bool>,
    /// From this many bytes of clients on no answer is handed over.
    answers_end_at: Option<u64>,
}

/// One connection through the proxy.
struct Link {
    client: TcpStream,
    server: TcpStream,
    is_half_open: AtomicBool,
}

/// Bytes that are under way, and when they arrive.
type Queue = Arc<(Mutex<(VecDeque<(Instant, Vec<u8>)>, bool)>, Condvar)>;

/// As much as a link holds: a rate limit must press back on the sender.
const UNDER_WAY: usize = 4;
const PIECE: usize = 64 << 10;

impl Proxy {
    /// A proxy in front of `server`.
    pub fn new(server: SocketAddr) -> Self {
        Self::with(Arc::new(move || TcpStream::connect(server)))
    }

    /// A proxy in front of whatever `connect` connects to.
    pub fn with(connect: Connect) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            connect,
            faults: Mutex::default(),
            changed: Condvar::new(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            links: Mutex::default(),
            busy: Mutex::default(),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { return };
                accepting.accept(client);
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Bytes that clients have sent since it was made.
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Bytes that the server has sent since it was made.
    pub fn received_bytes(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }

    /// Connections that were accepted since it was made.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Resets all connections (RST) in the middle of whatever they do.
    pub fn cut(&self) {
        self.shared.links.lock().unwrap().drain(..).for_each(|link| link.reset());
    }

    /// Closes all connections in order (FIN) towards the client, as a server that is stopped does.
    pub fn close(&self) {
        for link in self.shared.links.lock().unwrap().drain(..) {
            let _ = link.client.shutdown(Shutdown::Both);
            let _ = link.server.shutdown(Shutdown::Both);
        }
    }

    /// Lets the present connections look open while nothing comes through any more, as after a server lost its
    /// power; new connections are good.
    pub fn half_open(&self) {
        for link in self.shared.links.lock().unwrap().drain(..) {
            link.is_half_open.store(true, Ordering::SeqCst);
            // The threads of the link keep it until the client closes it.
        }
        self.shared.changed.notify_all();
    }

    /// Resets a connection whenever one of these numbers of bytes has come from clients, counted from now.
    pub fn cut_after(&self, bytes: impl IntoIterator<Item = u64>) {
        let now = self.sent_bytes();
        let mut cuts: Vec<u64> = bytes.into_iter().map(|bytes| now + bytes).collect();
        cuts.sort_unstable();
        self.change(|faults| faults.cuts = cuts.into());
    }

    /// Resets a connection instead of handing over these answers of the server, counted from now, from 1. What was
    /// asked for has been done then, and the client does not know.
    pub fn lose_answers(&self, numbers: impl IntoIterator<Item = u64>) {
        let now = self.shared.answers.load(Ordering::SeqCst);
        let mut lost: Vec<u64> = numbers.into_iter().map(|number| now + number).collect();
        lost.sort_unstable();
        self.change(|faults| faults.lost_answers = lost.into());
    }

    /// Answers of [`Proxy::lose_answers`] that have not come yet.
    pub fn answers_to_lose(&self) -> usize {
        self.shared.faults.lock().unwrap().lost_answers.len()
    }

    /// Holds everything back, in both directions, or lets it go on. Connections can still be made.
    pub fn stall(&self, is_stalled: bool) {
        self.change(|faults| faults.is_stalled = is_stalled);
    }

    /// Holds everything back as soon as clients have sent this many bytes, counted from now: what a test does then
    /// happens in the midst of the work, however fast that is.
    pub fn stall_after(&self, bytes: u64) {
        let at = self.sent_bytes() + bytes;
        self.change(|faults| faults.stalls_at = Some(at));
    }

    /// Waits until the bytes of [`Proxy::stall_after`] have come. [`Proxy::stall`] lets everything go on.
    ///
    /// # Panics
    /// After [`LIMIT`].
    pub fn wait_for_stall(&self) {
        if !self.wait(|faults| faults.is_stalled) {
            // Nobody is left who would let it go on.
            self.change(|faults| faults.stalls_at = None);
            panic!("{} bytes were sent", self.sent_bytes());
        }
    }

    /// Holds back what a client sends from the first bytes on that look like this, connection by connection, until
    /// it is told otherwise; what was held is then sent on.
    pub fn hold(&self, held: Option<fn(&[u8]) -> bool>) {
        self.change(|faults| faults.held = held);
    }

    /// Holds back every answer as soon as clients have sent this many bytes, counted from now: what still comes then
    /// was sent without waiting for one. `None` hands over what was held.
    pub fn hold_answers_after(&self, bytes: Option<u64>) {
        let at = bytes.map(|bytes| self.sent_bytes() + bytes);
        self.change(|faults| faults.answers_end_at = at);
    }

    /// Resets connections as soon as they are made.
    pub fn refuse(&self, is_refusing: bool) {
        self.change(|faults| faults.is_refusing = is_refusing);
    }

    /// How long bytes are under way, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.change(|faults| faults.delay = delay);
    }

    /// How many bytes a second all connections together carry, in each direction; `None` for no limit.
    pub fn rate(&self, bytes_per_second: Option<u64>) {
        self.change(|faults| faults.rate = bytes_per_second);
    }

    /// Waits until clients have sent this many bytes since the proxy was made.
    ///
    /// # Panics
    /// After [`LIMIT`].
    pub fn wait_for_sent(&self, bytes: u64) {
        assert!(self.wait(|_| self.sent_bytes() >= bytes), "{} of {bytes} bytes were sent", self.sent_bytes());
    }

    /// Waits until the server has sent this many bytes since the proxy was made.
    ///
    /// # Panics
    /// After [`LIMIT`].
    pub fn wait_for_received(&self, bytes: u64) {
        let is_met = self.wait(|_| self.received_bytes() >= bytes);
        assert!(is_met, "{} of {bytes} bytes were received", self.received_bytes());
    }

    /// Waits, and says whether it came within [`LIMIT`].
    fn wait(&self, is_met: impl Fn(&Faults) -> bool) -> bool {
        let faults = self.shared.faults.lock().unwrap();
        !self.shared.changed.wait_timeout_while(faults, LIMIT, |faults| !is_met(faults)).unwrap().1.timed_out()
    }

    fn change(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.faults.lock().unwrap());
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(self.address);
        self.close();
    }
}

impl Link {
    fn reset(&self) {
        abort(&self.client);
        abort(&self.server);
    }
}

/// Aborts a connection with a reset, whoever else holds the socket: what connecting to nowhere means for TCP.
fn abort(socket: &TcpStream) {
    let _ = rustix::net::connect_unspec(socket);
}

impl Shared {
    fn accept(self: &Arc<Self>, client: TcpStream) {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        if self.faults.lock().unwrap().is_refusing {
            abort(&client);
            return;
        }
        // A server that is down: the client sees its connection close.
        let Ok(server) = (self.connect)() else {
            abort(&client);
            return;
        };
        for socket in [&client, &server] {
            socket.set_nodelay(true).unwrap();
        }
        let link = Arc::new(Link { client, server, is_half_open: AtomicBool::new(false) });
        self.links.lock().unwrap().push(link.clone());
        for from_client in [true, false] {
            let queue: Queue = Arc::default();
            let (shared, reading, filled) = (self.clone(), link.clone(), queue.clone());
            thread::spawn(move || shared.read(&reading, from_client, &filled));
            let (shared, writing) = (self.clone(), link.clone());
            thread::spawn(move || shared.write(&writing, from_client, &queue));
        }
    }

    /// Takes bytes from one side and notes when they are to arrive at the other.
    fn read(&self, link: &Link, from_client: bool, queue: &Queue) {
        let mut from = if from_client { &link.client } else { &link.server };
        let mut buffer = vec![0; PIECE];
        loop {
            let length = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let counter = if from_client { &self.sent } else { &self.received };
            let total = counter.fetch_add(length as u64, Ordering::SeqCst) + length as u64;
            let is_cut = {
                let mut faults = self.faults.lock().unwrap();
                if from_client && faults.stalls_at.is_some_and(|at| at <= total) {
                    (faults.stalls_at, faults.is_stalled) = (None, true);
                }
                let (due, total) = if from_client {
                    (&mut faults.cuts, total)
                } else {
                    (&mut faults.lost_answers, self.answers.fetch_add(1, Ordering::SeqCst) + 1)
                };
                let is_due = due.front().is_some_and(|cut| *cut <= total);
                if is_due {
                    due.pop_front();
                }
                is_due
            };
            self.changed.notify_all();
            if is_cut {
                link.reset();
                break;
            }
            let (delay, rate, is_held) = {
                let faults = self.faults.lock().unwrap();
                (faults.delay, faults.rate, faults.answers_end_at.is_some())
            };
            let carried = rate.map_or_else(Instant::now, |rate| self.take_turn(from_client, length as u64, rate));
            let mut filled = queue.0.lock().unwrap();
            let limit = match rate {
                // What a link has room for, and what is under way on it.
                Some(rate) => UNDER_WAY + (rate as f64 * delay.as_secs_f64()) as usize / PIECE,
                None if delay.is_zero() && !is_held => UNDER_WAY,
                None => 1 << 12,
            };
            while filled.0.len() >= limit && !filled.1 {
                filled = queue.1.wait(filled).unwrap();
            }
            filled.0.push_back((carried + delay, buffer[..length].to_vec()));
            queue.1.notify_all();
        }
        queue.0.lock().unwrap().1 = true;
        queue.1.notify_all();
    }

    /// When the link, which all connections share, will have carried `length` bytes more. Nobody sleeps for it here:
    /// a thread that wakes up late would leave the link empty in between, as no real link is.
    fn take_turn(&self, from_client: bool, length: u64, rate: u64) -> Instant {
        let mut busy = self.busy.lock().unwrap();
        let slot = &mut busy[usize::from(from_client)];
        let now = Instant::now();
        let start = slot.filter(|end| *end > now).unwrap_or(now);
        let end = start + Duration::from_nanos(length * 1_000_000_000 / rate);
        *slot = Some(end);
        end
    }

    /// Hands bytes over when they are due.
    fn write(&self, link: &Link, from_client: bool, queue: &Queue) {
        let mut to = if from_client { &link.server } else { &link.client };
        loop {
            let mut filled = queue.0.lock().unwrap();
            while filled.0.is_empty() && !filled.1 {
                filled = queue.1.wait(filled).unwrap();
            }
            let Some((due, bytes)) = filled.0.pop_front() else { break };
            queue.1.notify_all();
            drop(filled);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.hold_back(link, from_client.then_some(bytes.as_slice()));
            if link.is_half_open.load(Ordering::SeqCst) {
                continue;
            }
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        if !link.is_half_open.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Write);
        }
        // Whoever reads for this thread must not wait for room any more.
        queue.0.lock().unwrap().1 = true;
        queue.1.notify_all();
    }

    fn hold_back(&self, link: &Link, sent: Option<&[u8]>) {
        let is_held = |faults: &Faults| {
            let is_late = |at| sent.is_none() && self.sent.load(Ordering::SeqCst) >= at;
            faults.is_stalled
                || faults.held.is_some_and(|held| sent.is_some_and(held))
                || faults.answers_end_at.is_some_and(is_late)
        };
        let mut faults = self.faults.lock().unwrap();
        while is_held(&faults) && !self.is_over.load(Ordering::SeqCst) && !link.is_half_open.load(Ordering::SeqCst) {
            faults = self.changed.wait_timeout(faults, Duration::from_millis(50)).unwrap().0;
        }
    }
}
