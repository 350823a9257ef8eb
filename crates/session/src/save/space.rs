//! The space of the target, looked at before a save and while it runs: an operator who is told early can make room.

use std::sync::atomic::{AtomicBool, Ordering};

use image::Store;

use super::packs::PACK_BYTES;
use crate::error::Result;
use crate::progress::{Event, Observer};

/// Less than this many packs: the end is near.
const LAST_PACKS: u64 = 4;

/// Tells where the target has less space than all the bytes that are to be saved. They may still fit: what is known
/// or zero is not stored, the rest is compressed.
pub fn look_before(store: &dyn Store, observer: &dyn Observer, most: u64) -> Result<()> {
    match store.available_bytes()? {
        Some(available) if available < most => observer.notify(Event::Space { available, most: Some(most) }),
        _ => {}
    }
    Ok(())
}

/// Looks again after each pack, and tells once.
pub struct SpaceWatch<'a> {
    store: &'a dyn Store,
    observer: &'a dyn Observer,
    is_told: AtomicBool,
}

impl<'a> SpaceWatch<'a> {
    /// Nothing was told yet.
    pub fn new(store: &'a dyn Store, observer: &'a dyn Observer) -> Self {
        Self { store, observer, is_told: AtomicBool::new(false) }
    }

    /// Tells where hardly another pack fits.
    pub fn look(&self) -> Result<()> {
        if self.is_told.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(available) = self.store.available_bytes()?.filter(|bytes| *bytes < PACK_BYTES * LAST_PACKS)
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            self.observer.notify(Event::Space { available, most: None });
        }
        Ok(())
    }
}
