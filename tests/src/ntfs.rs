//! NTFS volumes of real tools: mounted with ntfs-3g, looked at and bent where no tool does that.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::mount::unmount;
use crate::tool::run;

/// A volume mounted with ntfs-3g. Dropping it returns when everything is written to the image.
pub struct NtfsMounted {
    directory: TempDir,
    process: Child,
}

impl NtfsMounted {
    /// Mounts the volume in the file `image` with `options`, for example `ro`.
    ///
    /// # Panics
    /// Where ntfs-3g refuses.
    pub fn new(image: &Path, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // ntfs-3g goes on in the background and keeps descriptor 9: it is closed when that process has ended.
        let mut process = Command::new("sh")
            .args(["-c", "exec 9>&1; exec ntfs-3g -o \"$1\" \"$2\" \"$3\" >/dev/null", "sh", options])
            .args([image, directory.path()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let status = process.wait().unwrap();
        assert!(status.success(), "ntfs-3g {}: {status}", image.display());
        Self { directory, process }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Ends ntfs-3g as a crash does: what it has not written is lost.
    pub fn crash(self) {
        let mounted = self.path().display().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.starts_with("ntfs-3g\0") && line.contains(&mounted)
        });
        let ids: Vec<String> = processes.map(|process| process.file_name().display().to_string()).collect();
        assert_eq!(ids.len(), 1, "{ids:?} serve {mounted}");
        run("kill", ["-KILL", &ids[0]]);
    }
}

impl Drop for NtfsMounted {
    fn drop(&mut self) {
        unmount(self.directory.path());
        let mut rest = Vec::new();
        if let Some(output) = &mut self.process.stdout {
            let _ = output.read_to_end(&mut rest);
        }
    }
}

/// Makes a volume of `size` bytes in the file `image` with `arguments` for mkntfs.
///
/// # Panics
/// Where mkntfs refuses.
pub fn make_ntfs(image: &Path, size: u64, arguments: &[&str]) {
    std::fs::File::create(image).unwrap().set_len(size).unwrap();
    let image = image.display().to_string();
    run("mkntfs", ["-Q", "-F", "-q"].iter().chain(arguments).copied().chain([image.as_str()]));
}

/// First byte of file record `number`, and of the value of its attribute of kind `kind`. Only for system
/// records, which lie at the start of the table.
///
/// # Panics
/// Where there is none.
pub fn resident_value(image: &Path, number: u64, kind: u32) -> u64 {
    let bytes = |offset: u64, length: usize| {
        let mut bytes = vec![0; length];
        OpenOptions::new().read(true).open(image).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    let boot = bytes(0, 512);
    let sector_size = u64::from(u16::from_le_bytes([boot[11], boot[12]]));
    let cluster_size = sector_size * u64::from(boot[13]);
    let mft = u64::from_le_bytes(boot[0x30..0x38].try_into().unwrap()) * cluster_size;
    let position = mft + number * (1 << boot[0x40].wrapping_neg());
    let record = bytes(position, 1024);
    let u32_at = |offset: usize| u32::from_le_bytes(record[offset..offset + 4].try_into().unwrap());
    let mut at = usize::from(u16::from_le_bytes([record[0x14], record[0x15]]));
    while u32_at(at) != kind {
        assert_ne!(u32_at(at), u32::MAX, "record {number} has no attribute {kind:#x}");
        at += u32_at(at + 4) as usize;
    }
    assert_eq!(record[at + 8], 0, "attribute {kind:#x} is not resident");
    position + at as u64 + u64::from(u16::from_le_bytes([record[at + 0x14], record[at + 0x15]]))
}

/// First byte of the first run of the unnamed data of a file, as ntfsinfo says; the file as its options
/// (`-i 2`, `-F /name`).
///
/// # Panics
/// Where ntfsinfo says none.
pub fn first_byte_of_data(image: &Path, file: [&str; 2], cluster_size: u64) -> u64 {
    let printed = run("ntfsinfo", ["-v", "-f", file[0], file[1], &image.display().to_string()]);
    let data = printed.split_once("$DATA").unwrap_or_else(|| panic!("no data in {printed}")).1;
    let runs = data.split_once("Runlist:").unwrap_or_else(|| panic!("no runs in {data}")).1;
    let first = runs.lines().nth(1).unwrap_or_default();
    let lcn =
        first.split_whitespace().nth(1).and_then(|lcn| u64::from_str_radix(lcn.trim_start_matches("0x"), 16).ok());
    lcn.unwrap_or_else(|| panic!("no cluster in {runs}")) * cluster_size
}

/// Overwrites bytes of the file `image`.
///
/// # Panics
/// Where that fails.
pub fn overwrite(image: &Path, position: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(image).unwrap().write_all_at(bytes, position).unwrap();
}
