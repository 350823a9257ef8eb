//! How fast targets in the network are: beside a plain copy with the client library alone against the same server, and
//! over links of limited speed. Server, client and the proxy between them share this machine.

pub mod nfs;
pub mod s3;
pub mod smb;

use std::thread;
use std::time::Instant;

use block::ReadAt;
use image::Store;
use repository::DirectoryStore;
use session::Cancel;

use crate::FileDisk;
use crate::proxy::Proxy;
use crate::sessions::save;

/// Bytes of a mebibyte.
pub const MIB: usize = 1 << 20;
/// Links: name, bytes a second, and for how many seconds they are filled: long enough for several packs, of which the
/// first has to be there before object storage gets a byte of it.
const LINKS: [(&str, f64, f64); 2] = [("1 Gbit/s", 125e6, 8.0), ("100 Mbit/s", 12.5e6, 24.0)];
const READERS: usize = 4;

/// Rates in MB/s: 10^6 bytes a second.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Writing, until it is stable.
    pub write: f64,
    /// Reading.
    pub read: f64,
}

/// MB/s since a moment.
pub fn rate(length: usize, began: Instant) -> f64 {
    length as f64 / began.elapsed().as_secs_f64() / 1e6
}

/// A plain copy with a client library: writes the bytes and reads them back.
pub type Copier<'a> = &'a dyn Fn(&[u8]) -> Rates;

/// A target to be measured.
pub struct Target<'a> {
    /// In front of the server.
    pub proxy: &'a Proxy,
    /// A store below a directory of its own.
    pub open: &'a dyn Fn(&str) -> Box<dyn Store>,
    /// A disk of so many MiB that do not shrink.
    pub disk: &'a dyn Fn(u64) -> FileDisk,
}

/// Prints the rows of a target: the plain copies that were measured, the target, and a save, without a limit of the
/// link and with one. `rounds` of each, of which the median counts.
///
/// # Panics
/// Where anything fails.
pub fn report(target: &Target<'_>, plain: &[(&str, Copier<'_>)], bytes: &[u8], rounds: usize) {
    println!("| {} MiB | write and make stable, MB/s | read, MB/s |\n|---|---|---|", bytes.len() / MIB);
    let mut best = Rates { write: 0.0, read: 0.0 };
    for (name, copy) in plain {
        let rates = median(rounds, &|| copy(bytes));
        best = Rates { write: best.write.max(rates.write), read: best.read.max(rates.read) };
        println!("| {name} | {:.0} | {:.0} |", rates.write, rates.read);
    }
    let store = (target.open)("target");
    let rates = median(rounds, &|| copy(&*store, bytes));
    println!("| target | {:.0} | {:.0} |", rates.write, rates.read);
    println!(
        "| target against the faster plain copy | {:.2} | {:.2} |",
        rates.write / best.write,
        rates.read / best.read
    );
    let mebibytes = (bytes.len() / MIB) as u64;
    // As fast as this machine reads, names and compresses: where the target costs nothing.
    let kept = tempfile::tempdir().unwrap();
    let in_memory = |below: &str| -> Box<dyn Store> {
        std::fs::create_dir(kept.path().join(below)).unwrap();
        Box::new(DirectoryStore::open(&kept.path().join(below)).unwrap())
    };
    let limit = save_rates(&in_memory, &(target.disk)(mebibytes), "directory", rounds);
    println!("| save of a disk that does not shrink, to a directory in memory | {limit:.0} | |");
    let saved = save_rates(target.open, &(target.disk)(mebibytes), "save", rounds);
    println!("| the same to the target | {saved:.0} | |");
    for (name, link, seconds) in LINKS {
        let length = bytes.len().min((link * seconds) as usize / MIB * MIB);
        target.proxy.rate(Some(link as u64));
        let percent = |rate: f64| rate * 1e6 / link * 100.0;
        let rates = copy(&*store, bytes.get(..length).unwrap());
        println!("| link of {name}: target | {:.0} % | {:.0} % |", percent(rates.write), percent(rates.read));
        let saved = save_rates(target.open, &(target.disk)((length / MIB) as u64), &format!("link-{link}"), 1);
        let against = saved / limit.min(link / 1e6);
        println!("| link of {name}: save | {:.0} % | |", percent(saved));
        println!("| link of {name}: save against the slower of link and directory | {against:.2} | |");
        for (copier, copy) in plain {
            let rates = copy(bytes.get(..length).unwrap());
            println!("| link of {name}: {copier} | {:.0} % | {:.0} % |", percent(rates.write), percent(rates.read));
        }
        target.proxy.rate(None);
    }
}

fn median(rounds: usize, measure: &dyn Fn() -> Rates) -> Rates {
    let all: Vec<Rates> = (0..rounds).map(|_| measure()).collect();
    let of = |pick: fn(&Rates) -> f64| middle(all.iter().map(pick).collect());
    Rates { write: of(|rates| rates.write), read: of(|rates| rates.read) }
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Whole saves of a disk, each to a repository of its own.
fn save_rates(open: &dyn Fn(&str) -> Box<dyn Store>, disk: &FileDisk, name: &str, rounds: usize) -> f64 {
    let one = |round| {
        let store = open(&format!("{name}-{round}"));
        let began = Instant::now();
        save(&*store, "image", disk, &Cancel::new()).unwrap();
        rate(disk.size() as usize, began)
    };
    middle((0..rounds).map(one).collect())
}

/// Writes a file through a store and reads it back with several threads.
fn copy(store: &dyn Store, bytes: &[u8]) -> Rates {
    let began = Instant::now();
    let mut file = store.create("copy").unwrap();
    bytes.chunks(MIB).for_each(|chunk| file.write(chunk).unwrap());
    file.sync().unwrap();
    let write = rate(bytes.len(), began);
    drop(file);
    let began = Instant::now();
    thread::scope(|scope| {
        for number in 0..READERS {
            scope.spawn(move || {
                let mut buffer = vec![0; 4 * MIB];
                for offset in (number * 4 * MIB..bytes.len()).step_by(READERS * 4 * MIB) {
                    let length = buffer.len().min(bytes.len() - offset);
                    store.read_at("copy", offset as u64, &mut buffer[..length]).unwrap();
                }
            });
        }
    });
    let read = rate(bytes.len(), began);
    store.remove("copy").unwrap();
    Rates { write, read }
}
