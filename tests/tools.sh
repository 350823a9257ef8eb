#!/bin/sh
# Installs what the build, the samples and the checks need on Debian 12. Does nothing where all of it is there.
set -eu

packages="
  attr binutils bsdutils btrfs-progs build-essential busybox-static bzip2 cpio debian-archive-keyring dnsmasq-base dosfstools drbd-utils
  e2fsprogs exfat-fuse exfatprogs f2fs-tools fdisk gdisk gfs2-utils grub-common iproute2 jfsutils jq kmod krb5-admin-server
  krb5-kdc krb5-user libhivex-bin
  lvm2 makefs mdadm mount mtools nfs-ganesha nfs-ganesha-vfs nilfs-tools ntfs-3g ocfs2-tools openssl ovmf partclone
  python3 python3-zstandard qemu-system-x86 reiserfsprogs rpcbind samba samba-common-bin sanlock sbd squashfs-tools strace
  time util-linux vmfs-tools xfsprogs xorriso xz-utils zstd
"

missing=""
for package in $packages; do
  dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
    missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "installing:$missing"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

"$(dirname "$0")/debian_samples.sh"
