//! The asynchronous runtime under the targets whose client libraries need one. Nothing outside of them sees it.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::patience::{Fault, Line, TICK};

/// Waiting, encrypting and signing go on while the session's own threads compress.
const THREADS: usize = 2;
/// After this time without an answer the operator is told.
const SLOW: Duration = Duration::from_secs(10);
/// An operator who stopped the work waits this long for an answer that is under way.
const LAST_WORD: Duration = Duration::from_secs(3);

/// Runs the calls of one target.
pub struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    /// Starts its threads.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(name: &str) -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name(name).enable_all();
        Ok(Self(builder.build()?))
    }

    /// Where work is left that nobody waits for.
    pub fn handle(&self) -> &tokio::runtime::Handle {
        self.0.handle()
    }

    /// Waits for `call`, which has its own deadline: tells when it is slow, and ends when the operator does not
    /// want to wait for a silent server.
    pub fn wait<T>(
        &self,
        line: &Line,
        operation: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.0.block_on(async {
            let mut call = pin!(call);
            let began = Instant::now();
            loop {
                if let Ok(done) = tokio::time::timeout(TICK, &mut call).await {
                    return done;
                }
                let waited = began.elapsed();
                if line.is_cancelled() && waited >= LAST_WORD {
                    return Err(Fault::cancelled());
                }
                if waited >= SLOW {
                    line.is_slow(operation, waited);
                }
            }
        })
    }
}

/// Waits for one answer, at most as long as the line allows.
///
/// # Errors
/// A fault that can pass where none came.
pub async fn answer<T>(line: &Line, call: impl Future<Output = T>) -> Result<T, Fault> {
    let deadline = line.call_deadline();
    let done = tokio::time::timeout(deadline, call).await;
    done.map_err(|_| {
        let text = format!("no answer for {} s", deadline.as_secs());
        Fault::passing(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}
