#!/bin/bash
# Makes the disk of a small Debian server: server.sh bios|uefi DISK. It boots from its own disk (GRUB in the gap behind
# the MBR, or shim on an EFI system partition), writes a line into its log, says so on the serial line, and turns
# itself off. Made of the packages that the live medium is made of; needs no root and no mounts.
set -euo pipefail
firmware=$1 disk=$(realpath -m "$2")
build=$(cd "$(dirname "$0")/../../image-build" && pwd)
. "$build/settings.sh"
export SOURCE_DATE_EPOCH=1700000000
work=$(mktemp -d "$disk.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
packages=$("$build/fetch.sh")
unpack() { dpkg-deb -x "$(grep "/$1_" <<< "$packages")" "$2"; }

mkdir -p "$work"/{kernel,loaders,root,start/bin}
unpack "linux-image-6[^_]*" "$work/kernel" 2> /dev/null || unpack "linux-image-[0-9][^_]*" "$work/kernel"
for package in grub-pc-bin shim-signed grub-efi-amd64-signed; do unpack "$package" "$work/loaders"; done
# Something to save: programs and libraries as a Debian has them.
for package in busybox-static libc6 e2fsprogs xfsprogs btrfs-progs lvm2 libgcrypt20 tzdata drbd-utils; do
  unpack "$package" "$work/root"
done

root=$work/root kernel=$(basename "$work"/kernel/lib/modules/*)
mkdir -p "$root"/{boot/grub,dev,proc,sys,run,tmp,etc,sbin,var/log}
install -m 644 "$work/kernel/boot/vmlinuz-$kernel" "$root/boot/vmlinuz"
echo "node1.example" > "$root/etc/hostname"
cat > "$root/sbin/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc none /proc
busybox mount -o remount,rw /
busybox hostname -F /etc/hostname
busybox cat /proc/uptime >> /var/log/boots
busybox sync
busybox mount -o remount,ro /
echo "server is up: $(busybox hostname), $(busybox wc -l < /var/log/boots) times, $(busybox cat /proc/cmdline)"
busybox poweroff -f
INIT
chmod 755 "$root/sbin/init"

# Its initramfs: modules for its disk, and the way to its root.
depmod -b "$work/kernel" "$kernel"
printf 'virtio_pci virtio_blk ext4 crc32c_generic\n' > "$work/list"
modules=lib/modules/$kernel
mkdir -p "$work/start/$modules"
"$build/modules.sh" "$work/kernel/$modules" "$work/list" > "$work/modules"
tar -c -C "$work/kernel/$modules" -T "$work/modules" | tar -x -C "$work/start/$modules"
cp "$work/kernel/$modules"/modules.{builtin,builtin.modinfo,order} "$work/start/$modules"
depmod -b "$work/start" "$kernel"
cp "$root/bin/busybox" "$work/start/bin/"
cat > "$work/start/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /sys /dev /new /sbin
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
for module in virtio_pci virtio_blk crc32c_generic ext4; do busybox modprobe $module; done
for word in $(busybox cat /proc/cmdline); do case $word in root=UUID=*) uuid=${word#root=UUID=} ;; esac; done
until disk=$(busybox findfs "UUID=$uuid"); do busybox usleep 100000; done
busybox mount -o ro "$disk" /new
busybox mount --move /dev /new/dev
exec busybox switch_root /new /sbin/init
INIT
chmod 755 "$work/start/init"
(cd "$work/start" && find . -mindepth 1 -printf '%P\n' | sort | cpio --quiet -o -H newc -R 0:0 | gzip -1 > "$root/boot/initrd.img")

uuid=0c1d5a3e-57e1-4b0e-9d3f-2a7d8e4b6c01
cat > "$root/boot/grub/grub.cfg" <<GRUB
serial --unit=0 --speed=115200
terminal_output serial console
search --no-floppy --fs-uuid --set=root $uuid
linux /boot/vmlinuz root=UUID=$uuid console=ttyS0,115200n8 quiet panic=5
initrd /boot/initrd.img
boot
GRUB

MiB=1048576
rm -f "$disk"
truncate -s 400M "$disk"
if [ "$firmware" = bios ]; then
  sfdisk -q "$disk" <<TABLE
label: dos
label-id: 0x5053e100
start=1MiB, size=300MiB, type=83, bootable
start=301MiB, size=32MiB, type=82
TABLE
  start=1 swap=301
  cat > "$work/early.cfg" <<GRUB
search --no-floppy --fs-uuid --set=root $uuid
set prefix=(\$root)/boot/grub
GRUB
  grub-mkimage -d "$work/loaders/usr/lib/grub/i386-pc" -O i386-pc -p /boot/grub -c "$work/early.cfg" -o "$work/core.img" \
    biosdisk part_msdos ext2 search search_fs_uuid normal configfile linux serial terminal boot
  # The code in front of the table, and the core in the gap behind it: it looks there by itself.
  dd if="$work/loaders/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
  dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
else
  sfdisk -q "$disk" <<TABLE
label: gpt
label-id: 5053E100-57E1-4B0E-9D3F-2A7D8E4B6C00
start=1MiB, size=16MiB, type=U, uuid=5053E100-57E1-4B0E-9D3F-2A7D8E4B6C11, name="EFI System"
start=17MiB, size=300MiB, type=L, uuid=5053E100-57E1-4B0E-9D3F-2A7D8E4B6C12, name="root"
start=317MiB, size=32MiB, type=S, uuid=5053E100-57E1-4B0E-9D3F-2A7D8E4B6C13
TABLE
  start=17 swap=317
  mkdir -p "$work/efi/EFI/BOOT" "$work/efi/EFI/debian"
  cp "$work/loaders/usr/lib/shim/shimx64.efi.signed" "$work/efi/EFI/BOOT/BOOTX64.EFI"
  cp "$work/loaders/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$work/efi/EFI/BOOT/grubx64.efi"
  cp "$root/boot/grub/grub.cfg" "$work/efi/EFI/debian/grub.cfg"
  truncate -s 16M "$work/efi.img"
  mkfs.vfat -F 16 -i 5053E100 -n EFI "$work/efi.img" > /dev/null
  mcopy -i "$work/efi.img" -s "$work/efi/EFI" ::/
  dd if="$work/efi.img" of="$disk" bs=$MiB seek=1 conv=notrunc,sparse status=none
fi
mke2fs -q -F -t ext4 -U $uuid -L root -E root_owner=0:0,hash_seed=$uuid -d "$root" -E offset=$((start * MiB)) "$disk" 300M
truncate -s 32M "$work/swap"
mkswap -q -U 0c1d5a3e-57e1-4b0e-9d3f-2a7d8e4b6c02 "$work/swap"
dd if="$work/swap" of="$disk" bs=$MiB seek=$swap conv=notrunc,sparse status=none
