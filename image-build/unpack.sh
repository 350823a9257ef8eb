#!/bin/bash
# Takes packages apart: unpack.sh PACKAGES DIRECTORY. Makes kernel/, loaders/, root/ and a list, kept, in the directory.
# No script of a package runs.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
packages=$1 work=$2
mkdir -p "$work"/{kernel,loaders,root/usr/{bin,sbin,lib,lib64}}
# Half of the packages still name /bin, the other half /usr/bin.
for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$work/root/$directory"; done

left_out=" $(lines "$here/left-out.txt" | tr '\n' ' ')"
while read -r package; do
  name=$(basename "$package") name=${name%%_*}
  case $name in
    linux-image-[0-9]*) into=kernel ;;
    shim-signed | shim-helpers-amd64-signed | grub-efi-amd64-signed | grub-pc-bin) into=loaders ;;
    *) case $left_out in *" $name "*) continue ;; esac; into=root ;;
  esac
  dpkg-deb --fsys-tarfile "$package" |
    tar -x --keep-directory-symlink --no-same-owner --preserve-permissions -C "$work/$into"
  echo "$package"
done < "$packages" > "$work/kept"
[ -f "$(echo "$work"/kernel/boot/vmlinuz-*)" ] || fail "there is not exactly one kernel in $work/kernel/boot"
