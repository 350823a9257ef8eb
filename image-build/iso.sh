#!/bin/bash
# Makes one image that boots as a CD and as a USB stick, by BIOS and by UEFI with Secure Boot: iso.sh LOADERS OUT
set -euo pipefail
. "$(dirname "$0")/settings.sh"
loaders=$1 out=$2
: "${SOURCE_DATE_EPOCH:=$(cat "$out/epoch")}"
export SOURCE_DATE_EPOCH
tree=$(mktemp -d "$out/tree.XXXXXX")
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{live,.disk,EFI/BOOT,boot/grub/i386-pc}
ln "$out"/{vmlinuz,initrd.img,root.img,job.img} "$tree/live/"
cp "$out/packages.tsv" "$tree/"
"$here/menu.sh" "$out/font.hex" "$tree/boot/grub"
# Debian's signed GRUB looks for its medium by this file.
echo "Sosei" > "$tree/.disk/info"

# BIOS: a core that finds the medium by the kernel's file.
echo 'search --no-floppy --file --set=root /live/vmlinuz
set prefix=($root)/boot/grub' > "$out/early.cfg"
grub-mkimage -d "$loaders/usr/lib/grub/i386-pc" -O i386-pc-eltorito -p /boot/grub -c "$out/early.cfg" \
  -o "$tree/boot/grub/i386-pc/eltorito.img" biosdisk iso9660 part_gpt part_msdos fat search search_fs_file normal \
  configfile linux serial terminal echo test ls cat sleep minicmd gzio chain read reboot halt \
  all_video gfxterm gfxmenu font
rm "$out/early.cfg"

# UEFI: shim, signed by Microsoft; GRUB and the key manager, signed by Debian. In the tree as well, for firmware that
# looks there.
cp "$loaders/usr/lib/shim/shimx64.efi.signed" "$tree/EFI/BOOT/BOOTX64.EFI"
cp "$loaders/usr/lib/shim/mmx64.efi.signed" "$tree/EFI/BOOT/mmx64.efi"
cp "$loaders/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed" "$tree/EFI/BOOT/grubx64.efi"
# By this the menu knows its own medium among the disks.
echo "Sosei" > "$tree/EFI/BOOT/sosei"
find "$tree" ! -path "$tree/live/*" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
rm -f "$out/efi.img"
truncate -s 8M "$out/efi.img"
mkfs.vfat -F 12 --invariant -i 534f5345 -n SOSEI-EFI "$out/efi.img" > /dev/null
mcopy -i "$out/efi.img" -s -m "$tree/EFI" ::/

date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S00)
xorriso -report_about WARNING -as mkisofs -o "$out/sosei.iso" -V SOSEI -r -J -joliet-long -iso-level 3 \
  --modification-date="$date" --set_all_file_dates "$date" \
  -b boot/grub/i386-pc/eltorito.img -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info \
  --grub2-mbr "$loaders/usr/lib/grub/i386-pc/boot_hybrid.img" --protective-msdos-label --mbr-force-bootable \
  -partition_offset 16 -partition_cyl_align off -append_partition 2 0xef "$out/efi.img" -appended_part_as_gpt \
  --gpt_disk_guid 736f7365-6900-4d65-8469-756d00000001 \
  -eltorito-alt-boot -e --interval:appended_partition_2:all:: -no-emul-boot "$tree"
rm "$out/efi.img"
