//! Ctrl-C and its like: the first asks the session to stop, the second ends the program at once.

use session::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::CANCELLED;

/// Lets signals set `cancel` from now on.
pub fn cancel_on_signals(cancel: &Cancel) {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: a signal that comes while one is noticed already ends the program. What was
        // stored stays; a disk that is being restored has no valid table. Where a handler can't be
        // set, the signal simply ends the program.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, CANCELLED.into(), cancel.flag());
        let _ = signal_hook::flag::register(signal, cancel.flag());
    }
}
