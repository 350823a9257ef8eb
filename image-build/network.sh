#!/bin/bash
# Makes the directory that a TFTP or HTTP server gives to machines that boot from the network: network.sh LOADERS OUT
#   bios.0 by BIOS (PXE), shimx64.efi by UEFI (PXE), sosei.iso by UEFI (HTTP); both UEFI ways with Secure Boot
set -euo pipefail
. "$(dirname "$0")/settings.sh"
loaders=$1 out=$2 tree=$2/network
: "${SOURCE_DATE_EPOCH:=$(cat "$out/epoch")}"
rm -rf "$tree"
mkdir -p "$tree"/{live,grub}
ln "$out"/{vmlinuz,initrd.img,root.img,job.img} "$tree/live/"
# The signed GRUB does not know where it came from when that was HTTP; the firmware makes a disk in memory of the image.
ln "$out/sosei.iso" "$tree/"
"$here/menu.sh" "$out/font.hex" "$tree/grub"

grub-mkimage -d "$loaders/usr/lib/grub/i386-pc" -O i386-pc-pxe -p '(pxe)/grub' -o "$tree/bios.0" \
  pxe tftp http net normal configfile linux serial terminal echo test cat sleep minicmd gzio biosdisk part_msdos chain \
  reboot halt all_video gfxterm gfxmenu font
# The signed GRUB for networks looks for its menu in /grub.
cp "$loaders/usr/lib/shim/shimx64.efi.signed" "$tree/shimx64.efi"
cp "$loaders/usr/lib/shim/mmx64.efi.signed" "$tree/mmx64.efi"
cp "$loaders/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed" "$tree/grubx64.efi"
find "$tree" ! -path "$tree/live/*" ! -name sosei.iso -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
