//! The log of a session, kept beside its image: one JSON document a line.

use std::sync::{Mutex, PoisonError};

use image::{ImageName, Store, StoreFile, log_path};
use serde_json::{Value, json};

use crate::error::Result;
use crate::progress::{Event, Observer};

/// Writes what happens to the log of an image and passes it on.
pub struct Log<'a> {
    file: Mutex<Box<dyn StoreFile>>,
    observer: &'a dyn Observer,
    now: fn() -> String,
}

impl<'a> Log<'a> {
    /// Begins the log of the session that saves `image`, replacing that of an interrupted one.
    pub fn create(
        store: &dyn Store,
        image: &ImageName,
        observer: &'a dyn Observer,
        now: fn() -> String,
    ) -> Result<Self> {
        Ok(Self { file: Mutex::new(store.create(&log_path(image))?), observer, now })
    }

    /// Writes the first line.
    pub fn begin(&self, session: &str, version: &str) -> Result<()> {
        self.write(json!({ "event": "session", "session": session, "version": version }))
    }

    /// Writes the last line and makes the log stable.
    pub fn end(&self, outcome: &str) -> Result<()> {
        self.write(json!({ "event": "end", "outcome": outcome }))?;
        Ok(self.file.lock().unwrap_or_else(PoisonError::into_inner).sync()?)
    }

    fn write(&self, mut line: Value) -> Result<()> {
        if let Some(line) = line.as_object_mut() {
            line.insert("time".into(), (self.now)().into());
        }
        let line = format!("{line}\n");
        Ok(self.file.lock().unwrap_or_else(PoisonError::into_inner).write(line.as_bytes())?)
    }
}

impl Observer for Log<'_> {
    fn notify(&self, event: Event) {
        if !matches!(event, Event::Progress { .. } | Event::Busy { .. }) {
            // A log that can't be written is no reason to lose the image; its last line is checked.
            let _ = serde_json::to_value(&event).map(|line| self.write(line));
        }
        self.observer.notify(event);
    }
}
