//! The program saves to a target in the network, verifies, restores and compares.

use std::path::Path;
use std::process::Stdio;

use crate::program::{Finished, command, sosei_with};
use crate::proxy::Proxy;
use crate::restored::FILL;
use crate::sample::{Content, MIB, SampleDisk, read};

/// A target as an operator writes it, and what the program finds in its environment.
pub struct Way<'a> {
    /// The target.
    pub target: String,
    /// Variables.
    pub environment: &'a [(&'a str, &'a str)],
}

/// A disk with a file system and bytes of all kinds.
pub fn disk() -> SampleDisk {
    let mut disk = SampleDisk::new("node.img", 58 * MIB);
    disk.divide(512, "label: dos\nstart=1MiB, size=16MiB, type=83\nstart=17MiB, size=40MiB, type=da\n");
    disk.add("p1", MIB, 16 * MIB, Content::Ext4, 512);
    disk.add("p2", 17 * MIB, 40 * MIB, Content::Raw, 512);
    disk
}

impl Way<'_> {
    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        sosei_with(self.environment, arguments)
    }

    /// Saves a disk as `image`.
    pub fn save(&self, image: &str, disk: &SampleDisk) -> Finished {
        self.run(&["save", &self.target, image, disk.text(), "--json", "--progress", "json"])
    }

    /// Saves, verifies, restores and compares.
    ///
    /// # Panics
    /// Where anything is not as it must be.
    pub fn check(&self, disk: &SampleDisk) {
        self.save("node", disk).expect(0);
        let target = self.target.as_str();
        let listed = self.run(&["images", target, "--json"]).expect(0).json();
        assert_eq!(listed["images"][0]["state"], "whole", "{listed}");
        self.run(&["show", target, "node"]).expect(0);
        self.run(&["verify", target]).expect(0);
        self.run(&["compare", target, "node", disk.text()]).expect(0);
        let destination = disk.destination("destination.img", disk.size());
        self.run(&["restore", target, "node", destination.to_str().unwrap(), "--yes"]).expect(0);
        self.run(&["compare", target, "node", destination.to_str().unwrap()]).expect(0);
        let part = disk.part("p2");
        let bytes = |path: &Path| read(path, part.start, part.size);
        assert!(bytes(&destination) == bytes(&disk.path));
        assert_ne!(bytes(&destination)[0], FILL);
        assert_eq!(self.save("node", disk).expect(4).code(), "image-exists");
    }

    /// Eight programs save at once, and share what is the same.
    ///
    /// # Panics
    /// As [`Way::check`].
    pub fn check_eight_at_once(&self, disk: &SampleDisk) {
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || self.save(&format!("node-{number}"), disk).expect(0));
            }
        });
        self.run(&["verify", &self.target]).expect(0);
        for number in 0..8 {
            self.run(&["compare", &self.target, &format!("node-{number}"), disk.text()]).expect(0);
        }
        let again = self.save("node-9", disk).expect(0).json();
        assert_eq!(again["totals"]["new_bytes"], 0, "what is there is shared: {again}");
    }

    /// Programs that are killed block nobody, and leave nothing that looks like an image.
    ///
    /// # Panics
    /// As [`Way::check`].
    pub fn check_kills(&self, disk: &SampleDisk, proxy: &Proxy) {
        for bytes in [1, 3 * MIB, 12 * MIB, 15 * MIB] {
            proxy.stall_after(bytes);
            let mut command = command(["save", &self.target, "node", disk.text()]);
            command.envs(self.environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            proxy.wait_for_stall();
            child.kill().unwrap();
            child.wait().unwrap();
            proxy.stall(false);
        }
        let began = std::time::Instant::now();
        self.save("node", disk).expect(0);
        assert!(began.elapsed().as_secs() < 50, "it waited for a dead one's lock: {:?}", began.elapsed());
        self.run(&["verify", &self.target]).expect(0);
        self.run(&["compare", &self.target, "node", disk.text()]).expect(0);
    }

    /// Ctrl-C while the server does not answer.
    ///
    /// # Panics
    /// As [`Way::check`].
    pub fn check_cancel(&self, disk: &SampleDisk, proxy: &Proxy) {
        let mut command = command(["save", &self.target, "node", disk.text(), "--json", "--progress", "json"]);
        command.envs(self.environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        proxy.stall_after(5 * MIB);
        let child = command.spawn().unwrap();
        proxy.wait_for_stall();
        let began = std::time::Instant::now();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
        proxy.stall(false);
        self.save("node", disk).expect(0);
        self.run(&["compare", &self.target, "node", disk.text()]).expect(0);
    }
}
