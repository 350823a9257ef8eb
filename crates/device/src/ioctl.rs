//! The ioctls of block devices that no library wraps, from the Linux kernel's `include/uapi/linux/fs.h`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use rustix::ioctl::{NoArg, Setter, ioctl, opcode};

const SET_READ_ONLY: rustix::ioctl::Opcode = opcode::none(0x12, 93);
const REREAD_PARTITIONS: rustix::ioctl::Opcode = opcode::none(0x12, 95);
const FORGET_CACHE: rustix::ioctl::Opcode = opcode::none(0x12, 97);
const ZERO_OUT: rustix::ioctl::Opcode = opcode::none(0x12, 127);

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
