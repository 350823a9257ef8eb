#!/bin/bash
# Packs kernel, boot initramfs, root file system and the job area: pack.sh DIRECTORY OUT.
# The same input gives the same bytes: owners, times and order are fixed.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
work=$1 out=$2
kernel=$(basename "$work"/kernel/lib/modules/*)
install -m 644 "$work/kernel/boot/vmlinuz-$kernel" "$out/vmlinuz"
# The time of everything on the medium, unless told otherwise: that of its kernel.
: "${SOURCE_DATE_EPOCH:=$(stat -c %Y "$work/kernel/boot/vmlinuz-$kernel")}"
touch -d "@$SOURCE_DATE_EPOCH" "$out/vmlinuz"

# A directory as an archive for the kernel, on a multiple of four bytes, as the next archive needs it. With its sums the
# kernel stops at a file that is damaged, and unpacks nothing after it.
# Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst, magic 070702.
archive() {
  find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  (cd "$1" && find . -mindepth 1 "${@:2}" -printf '%P\n' | sort |
    cpio --quiet -o -H crc -R 0:0 --reproducible)
}

mkdir -p "$work/boot/bin"
install -m 755 "$initramfs/boot/init" "$work/boot/init"
cp "$work/root/usr/bin/busybox" "$work/boot/bin/busybox"
for applet in sh mkdir mount stat cat insmod cp setsid cttyhack switch_root ls dmesg free; do
  ln -s busybox "$work/boot/bin/$applet"
done
lines "$initramfs/modules/boot.txt" > "$work/boot/modules"
"$here/modules.sh" "$work/kernel/lib/modules/$kernel" "$initramfs/modules/boot.txt" | while read -r module; do
  cp "$work/kernel/lib/modules/$kernel/$module" "$work/boot/"
done
archive "$work/boot" | zstd -19 -q -c > "$out/initrd.img"

rm -f "$work/root.squashfs"
mkdir -p "$work/carried"
# Blocks of 256 KiB: with larger ones the medium is a little smaller, and every small file costs more to read.
# mksquashfs takes its times either from the environment or from its arguments.
env -u SOURCE_DATE_EPOCH mksquashfs "$work/root" "$work/carried/root.squashfs" -quiet -no-progress -all-root -noappend \
  -no-exports -no-xattrs -comp zstd -Xcompression-level "$SOSEI_LEVEL" -b 256K \
  -all-time "$SOURCE_DATE_EPOCH" -mkfs-time "$SOURCE_DATE_EPOCH"
stat -c %s "$work/carried/root.squashfs" > "$work/complete"
# Not compressed again. The mark comes last, in an archive of its own, which the kernel reads on through.
{ archive "$work/carried"
  mkdir -p "$work/mark" && cp "$work/complete" "$work/mark/complete" && archive "$work/mark"; } > "$out/root.img"

# Zeros: the kernel skips them. A job for one machine can be written here later without changing anything else.
truncate -s 0 "$out/job.img"
truncate -s 256K "$out/job.img"
touch -d "@$SOURCE_DATE_EPOCH" "$out"/{initrd,root,job}.img
echo "$SOURCE_DATE_EPOCH" > "$out/epoch"
