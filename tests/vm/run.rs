//! `make run`: the sample server in a terminal, from the first screen to its end, which leaves nothing behind.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tests::program;
use tests::samba::PASSWORD;
use tests::terminal::{Terminal, key};
use tests::vm::LIMIT;
use tests::vm::operator::{Operator, Words};

/// Ends Ctrl-A X of QEMU.
const END: &str = "\x01x";
/// The kernel takes processes away a moment after they were killed.
const GONE_LIMIT: Duration = Duration::from_secs(30);

/// The sample server, with all its files in a directory of its own.
struct SampleServer {
    files: TempDir,
    /// Stands in the environment of everything that it starts.
    mark: String,
    namespaces: String,
    terminal: Terminal,
}

impl SampleServer {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let mark = format!("SAMPLE_MARK={}", files.path().display());
        let path = program::path().with_file_name("sample_server");
        assert!(path.is_file(), "{} is missing: `cargo build --workspace` makes it", path.display());
        let directory = files.path().to_str().unwrap();
        let environment = [("TMPDIR", directory), ("SAMPLE_MARK", directory)];
        let terminal = Terminal::open_command(&[path.to_str().unwrap()], &environment, 80, 24).patient(LIMIT);
        let namespaces = format!("sosei-{}-", terminal.pid());
        Self { files, mark, namespaces, terminal }
    }

    /// What is there of it: processes, files, mounts, network namespaces.
    fn traces(&self) -> Vec<String> {
        let mut traces = Vec::new();
        let directory = self.files.path().to_str().unwrap();
        for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == self.mark.as_bytes()) {
                let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
                traces.push(format!("process {} {}", process.display(), name.trim()));
            }
            let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
            traces.extend(mounts.lines().filter(|line| line.contains(directory)).map(|line| format!("mount {line}")));
        }
        traces.extend(below(self.files.path()).into_iter().map(|path| format!("file {}", path.display())));
        let namespaces = below(Path::new("/run/netns")).into_iter();
        let own = namespaces.filter(|path| path.display().to_string().contains(&self.namespaces));
        traces.extend(own.map(|path| format!("namespace {}", path.display())));
        traces
    }

    fn check_that_nothing_is_left(mut self) {
        self.terminal.wait_for(&["nothing of it is left"]);
        assert!(!self.terminal.is_on_other_screen() && self.terminal.shows_cursor(), "{}", self.terminal.text());
        assert_eq!(self.terminal.end(), 0);
        let began = Instant::now();
        while !self.traces().is_empty() {
            assert!(began.elapsed() < GONE_LIMIT, "left behind: {:#?}", self.traces());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for SampleServer {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind either.
        self.terminal.end_by(Signal::TERM);
    }
}

/// All files below a directory; none where there is no such directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let each = entries.map(|entry| entry.path());
    each.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

#[test]
fn the_sample_server_boots_in_a_terminal_and_leaves_nothing_behind() {
    let mut server = SampleServer::start();
    let told = ["NFS   nfs://10.0.2.2:", "SMB   smb://games@10.0.2.2:", PASSWORD, "30 seconds", "Ctrl-A X"];
    server.terminal.wait_for(&told);
    let began = Instant::now();
    let mut operator = Operator::new(&mut server.terminal, "en");
    operator.go_to_tasks(key::ENTER);
    println!("the first screens after {:.1} s", began.elapsed().as_secs_f64());
    // What is offered is what runs: an NFS export as it is, an SMB share with its password.
    let words = Words::of("en");
    operator.choose(words.get("task.images"));
    operator.reach("place.title");
    operator.choose("nfs://10.0.2.2:");
    operator.reach("kind.nfs");
    operator.enter();
    operator.reach("images.title");
    operator.press("q");
    operator.press("q");
    operator.reach("place.title");
    operator.choose("smb://games@10.0.2.2:");
    operator.reach("kind.smb");
    operator.fill(words.get("field.password"), PASSWORD, true);
    operator.choose(words.get("place.connect"));
    operator.reach("images.title");
    server.terminal.press(END);
    server.check_that_nothing_is_left();
}

#[test]
fn a_terminal_that_is_closed_ends_the_sample_server() {
    let server = SampleServer::start();
    server.terminal.wait_for(&["Ctrl-A X"]);
    assert!(server.traces().len() > 4, "{:?}", server.traces());
    server.terminal.signal(Signal::HUP);
    server.check_that_nothing_is_left();
}
