#!/bin/sh
# Installs what the build, the samples and the checks need on Debian 12. Does nothing where all of it is there.
set -eu

packages="
  build-essential
  attr bsdutils dosfstools e2fsprogs fdisk gdisk iproute2 jq mount mtools ntfs-3g partclone strace time util-linux xfsprogs zstd
  nfs-ganesha nfs-ganesha-vfs rpcbind samba samba-common-bin
  python3 python3-zstandard
"

missing=""
for package in $packages; do
  dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
