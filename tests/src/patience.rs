//! Waits that are short, so that tests of faults are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use repository::{Contact, LeaseTimes, Patience, Watch};

use crate::wait::LIMIT;

/// Short ones: a session that ends without its server leaves its lock, and the next one waits for the lease.
pub fn lease_times() -> LeaseTimes {
    LeaseTimes { beat: Duration::from_millis(200), trusted: Duration::from_secs(1), lease: Duration::from_secs(4) }
}

/// Calls that are soon given up and sent again, so that tests are short, for as long as a busy machine may need.
pub fn quick() -> Patience {
    Patience {
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(200),
        give_up_after: LIMIT,
        first_contact: Duration::from_secs(8),
        call_deadline: Duration::from_secs(2),
    }
}

/// A watch that keeps what it is told.
pub fn watch() -> (Watch, Arc<Mutex<Vec<Contact>>>, Arc<AtomicBool>) {
    let (told, cancelled) = (Arc::<Mutex<Vec<Contact>>>::default(), Arc::new(AtomicBool::new(false)));
    let (to, flag) = (told.clone(), cancelled.clone());
    let report = Arc::new(move |contact| to.lock().unwrap().push(contact));
    (Watch { report, is_cancelled: Arc::new(move || flag.load(Ordering::SeqCst)) }, told, cancelled)
}
