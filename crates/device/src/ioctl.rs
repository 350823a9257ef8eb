//! The ioctls that no library wraps, from the Linux kernel's `include/uapi/linux/fs.h`, `include/uapi/linux/fb.h` and
//! `include/scsi/sg.h`.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint, c_ushort, c_void};
use std::fs::File;
use std::io;
use std::ptr;

use rustix::ioctl::{Getter, NoArg, Setter, Updater, ioctl, opcode};

const SET_READ_ONLY: rustix::ioctl::Opcode = opcode::none(0x12, 93);
const REREAD_PARTITIONS: rustix::ioctl::Opcode = opcode::none(0x12, 95);
const FORGET_CACHE: rustix::ioctl::Opcode = opcode::none(0x12, 97);
const ZERO_OUT: rustix::ioctl::Opcode = opcode::none(0x12, 127);
const PICTURE_MODE: rustix::ioctl::Opcode = 0x4600;
const PICTURE_MEMORY: rustix::ioctl::Opcode = 0x4602;
const SCSI_COMMAND: rustix::ioctl::Opcode = 0x2285;

/// `BLKRRPART`: the kernel reads the partition table again.
pub fn reread_partitions(disk: &File) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument and touches no memory of this process.
    Ok(unsafe { ioctl(disk, NoArg::<REREAD_PARTITIONS>::new()) }?)
}

/// `BLKROSET`: the kernel lets nobody write to the disk, or lets them again.
pub fn set_read_only(disk: &File, is_read_only: bool) -> io::Result<()> {
    // SAFETY: BLKROSET reads one int through the pointer, which `Setter` passes to a value that outlives the call.
    Ok(unsafe { ioctl(disk, Setter::<SET_READ_ONLY, i32>::new(is_read_only.into())) }?)
}

/// `BLKFLSBUF`: the kernel forgets what it remembers of the device, after writing what is new.
pub fn forget_cache(disk: &File) -> io::Result<()> {
    // SAFETY: BLKFLSBUF takes no argument and touches no memory of this process.
    Ok(unsafe { ioctl(disk, NoArg::<FORGET_CACHE>::new()) }?)
}

/// `BLKZEROOUT`: the bytes read as zeros afterwards. Start and length must be multiples of the sector size.
pub fn zero_out(disk: &File, start: u64, length: u64) -> io::Result<()> {
    // SAFETY: BLKZEROOUT reads two u64 through the pointer, which `Setter` passes to a value that outlives the call.
    Ok(unsafe { ioctl(disk, Setter::<ZERO_OUT, [u64; 2]>::new([start, length])) }?)
}

/// `FBIOGET_VSCREENINFO`: `struct fb_var_screeninfo`, 40 numbers of 32 bits.
pub fn picture_mode(framebuffer: &File) -> io::Result<[u32; 40]> {
    // SAFETY: FBIOGET_VSCREENINFO writes 160 bytes through the pointer, which is to as many; any bytes are numbers.
    Ok(unsafe { ioctl(framebuffer, Getter::<PICTURE_MODE, [u32; 40]>::new()) }?)
}

/// `FBIOGET_FSCREENINFO`: `struct fb_fix_screeninfo`, as numbers of 32 bits (80 bytes where a `long` has 64 bits).
pub fn picture_memory(framebuffer: &File) -> io::Result<[u32; 20]> {
    // SAFETY: FBIOGET_FSCREENINFO writes 80 bytes at most through the pointer, which is to as many; any bytes are
    // numbers.
    Ok(unsafe { ioctl(framebuffer, Getter::<PICTURE_MEMORY, [u32; 20]>::new()) }?)
}

/// `struct sg_io_hdr`.
#[repr(C)]
struct ScsiCommand {
    interface_id: c_int,
    dxfer_direction: c_int,
    cmd_len: u8,
    mx_sb_len: u8,
    iovec_count: c_ushort,
    dxfer_len: c_uint,
    dxferp: *mut c_void,
    cmdp: *const u8,
    sbp: *mut u8,
    timeout: c_uint,
    flags: c_uint,
    pack_id: c_int,
    usr_ptr: *mut c_void,
    status: u8,
    masked_status: u8,
    msg_status: u8,
    sb_len_wr: u8,
    host_status: c_ushort,
    driver_status: c_ushort,
    resid: c_int,
    duration: c_uint,
    info: c_uint,
}

const INTERFACE: c_int = 0x53;
const NO_DATA: c_int = -1;
const FROM_DISK: c_int = -3;
const SENSE_BYTES: u8 = 64;
/// A disk that does not answer such a question in this time has a path that is gone.
const TIMEOUT_MILLISECONDS: c_uint = 10_000;

/// What a disk answered to a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status of SCSI.
    pub status: u8,
    /// What the adapter says; 0 where the disk answered.
    pub host_status: u16,
    /// Sense data, as many as were sent.
    pub sense: Vec<u8>,
    /// Data, as many as were sent.
    pub data: Vec<u8>,
}

/// `SG_IO`: sends a command that reads up to `length` bytes, or none.
pub fn scsi_command(disk: &File, command: &[u8], length: usize) -> io::Result<Answer> {
    let mut data = vec![0; length];
    let mut sense = [0; 64];
    let mut request = ScsiCommand {
        interface_id: INTERFACE,
        dxfer_direction: if length == 0 { NO_DATA } else { FROM_DISK },
        cmd_len: u8::try_from(command.len()).map_err(io::Error::other)?,
        mx_sb_len: SENSE_BYTES,
        iovec_count: 0,
        dxfer_len: c_uint::try_from(length).map_err(io::Error::other)?,
        dxferp: data.as_mut_ptr().cast(),
        cmdp: command.as_ptr(),
        sbp: sense.as_mut_ptr(),
        timeout: TIMEOUT_MILLISECONDS,
        flags: 0,
        pack_id: 0,
        usr_ptr: ptr::null_mut(),
        status: 0,
        masked_status: 0,
        msg_status: 0,
        sb_len_wr: 0,
        host_status: 0,
        driver_status: 0,
        resid: 0,
        duration: 0,
        info: 0,
    };
    // SAFETY: SG_IO takes a `struct sg_io_hdr`, which `ScsiCommand` is field by field. Its three pointers are to
    // buffers of at least the lengths that stand beside them (`data`, `command`, `sense`: 64 bytes), which live until
    // after the call; the kernel only reads `command`, writes the other two, and keeps no pointer when it returns.
    unsafe { ioctl(disk, Updater::<SCSI_COMMAND, ScsiCommand>::new(&mut request)) }?;
    let missing = usize::try_from(request.resid).unwrap_or_default();
    data.truncate(length.saturating_sub(missing));
    let sense = sense.get(..usize::from(request.sb_len_wr)).unwrap_or_default().to_vec();
    Ok(Answer { status: request.status, host_status: request.host_status, sense, data })
}
