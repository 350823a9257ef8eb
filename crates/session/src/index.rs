//! Where every chunk of a repository is: read at the start of every session that needs chunks.

use std::sync::{Mutex, PoisonError};
use std::thread;

use image::{ChunkIndex, Pack, Store, pack_directories, packs_in};

use crate::error::{Error, Result};
use crate::progress::{Cancel, Event, Observer, Phase};

/// Requests at once. Each is small; over a network the way there and back is what takes time.
const THREADS: usize = 8;
/// Fewer items than this are done before another thread has begun.
const ITEMS_A_THREAD: usize = 4;
/// Fewer packs than this are read before anybody wonders what takes so long.
const TOLD_PACKS: usize = 64;

/// Reads the indexes of all packs.
///
/// # Errors
/// Where the way to the store is lost. A pack that can't be used is kept as [`ChunkIndex::damaged`].
pub fn read_index(store: &dyn Store, observer: &dyn Observer, cancel: &Cancel) -> Result<ChunkIndex> {
    let directories = pack_directories(store)?;
    let lists = at_once(&directories, cancel, &|directory| packs_in(store, directory), &|_| {})?;
    let mut paths = Vec::new();
    for list in lists {
        paths.extend(list?);
    }
    let is_told = paths.len() >= TOLD_PACKS;
    if is_told {
        observer.notify(Event::Began { phase: Phase::Index, total: u64::try_from(paths.len()).unwrap_or(u64::MAX) });
    }
    let tell = |done| {
        if is_told {
            observer.notify(Event::Progress { done });
        }
    };
    let packs = at_once(&paths, cancel, &|path| Pack::read(store, path), &tell)?;
    Ok(ChunkIndex::of_packs(packs.into_iter().zip(paths))?)
}

/// Does something with every item, on several threads; results in the order of the items.
fn at_once<I: Sync, O: Send>(
    items: &[I],
    cancel: &Cancel,
    action: &(dyn Fn(&I) -> O + Sync),
    tell: &(dyn Fn(u64) + Sync),
) -> Result<Vec<O>> {
    let mut results: Vec<Option<O>> = items.iter().map(|_| None).collect();
    let work = Mutex::new((results.iter_mut().zip(items), 0_u64));
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).0.next();
    let run = || {
        while let Some((result, item)) = next().filter(|_| !cancel.is_cancelled()) {
            *result = Some(action(item));
            let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
            work.1 = work.1.saturating_add(1);
            // Under the lock, so that numbers only grow.
            tell(work.1);
        }
    };
    thread::scope(|scope| {
        // The calling thread is one of them: a small repository needs no other.
        for _ in 1..THREADS.min(items.len() / ITEMS_A_THREAD) {
            scope.spawn(run);
        }
        run();
    });
    // Only a wish to stop leaves something undone.
    results.into_iter().collect::<Option<Vec<O>>>().ok_or(Error::Cancelled)
}
