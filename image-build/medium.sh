#!/bin/bash
# Builds the live medium: medium.sh PROGRAM DIRECTORY
# Leaves vmlinuz, initrd.img, root.img, job.img, sosei.iso, packages.tsv, font.hex, and the directory network, for a
# server that machines boot from, in the directory. Needs no root, no mounts.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
[ $# = 2 ] || fail "usage: medium.sh PROGRAM DIRECTORY"
program=$(realpath "$1") out=$2
[ -x "$program" ] || fail "$program is no program"
mkdir -p "$out"
work=$(mktemp -d "$out/work.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

"$here/fetch.sh" > "$work/packages"
"$here/unpack.sh" "$work/packages" "$work"
"$here/manifest.sh" "$work" > "$out/packages.tsv"
"$here/root.sh" "$program" "$out/packages.tsv" "$work"
"$here/check.sh" "$work/root"
"$here/pack.sh" "$work" "$out"
cp "$work/font.hex" "$out/"
"$here/iso.sh" "$work/loaders" "$out"
"$here/network.sh" "$work/loaders" "$out"
ls -l "$out"
