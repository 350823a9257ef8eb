#!/bin/sh
# Fetches samples that others test their own programs with, out of the sources that Debian keeps of these, into
# build/samples/NAME/VERSION. Does nothing where they are. Fetched with apt's own helper, so that its mirrors and proxies serve.
# Nothing of it is part of the repository: the licences are those of its projects.
#
#   util-linux   file systems and other signatures, and what libblkid is expected to find in them   (GPL, LGPL)
#   e2fsprogs    file systems of ext2 to ext4, most of them damaged on purpose, for e2fsck           (GPL, LGPL)
#   libldm       dynamic disks of Windows Server 2003 R2 and 2008 R2                                 (GPL, LGPL)
set -eu

build="$(cd "$(dirname "$0")/.." && pwd)/build/samples"

# fetch NAME VERSION PLACE SHA256 PATTERN...: unpacks the files of PLACE that match a PATTERN.
fetch() {
  name="$1" samples="$build/$1/$2" place="$3" sha256="$4" file="${3##*/}"
  shift 4
  [ ! -e "$samples/complete" ] || return 0
  # The mirrors that apt uses for Debian itself, and the one that every Debian knows.
  mirrors="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | sort -u)"
  mkdir -p "$samples"
  work="$(mktemp -d "$build/$name/unfinished.XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  for mirror in $mirrors http://deb.debian.org/debian/; do
    rm -f "$work/$file"
    /usr/lib/apt/apt-helper -qq download-file "$mirror$place" "$work/$file" "SHA256:$sha256" 2>"$work/log" && break
  done
  echo "$sha256  $work/$file" | sha256sum --check --quiet - || {
    cat "$work/log" >&2
    echo "$file is on none of the mirrors: $mirrors" >&2
    exit 1
  }
  tar -C "$samples" -xf "$work/$file" --strip-components=1 --wildcards "$@"
  rm -rf "$work"
  touch "$samples/complete"
}

fetch util-linux 2.41 pool/main/u/util-linux/util-linux_2.41.orig.tar.xz \
  81ee93b3cfdfeb7d7c4090cedeba1d7bbce9141fd0b501b686b3fe475ddca4c6 \
  '*/tests/ts/blkid/images-fs/*' '*/tests/expected/blkid/low-probe-*'
fetch e2fsprogs 1.47.0 pool/main/e/e2fsprogs/e2fsprogs_1.47.0.orig.tar.gz \
  6667afde56eef0c6af26684974400e4d2288ea49e9441bf5e6229195d51a3578 '*/tests/*/image*'
fetch libldm 0.2.5 pool/main/libl/libldm/libldm_0.2.5.orig.tar.gz \
  61bb2f2367b1df59f818cb96794d1770a0def956bd2c343dccf1425dae3021b5 '*/test/data/ldm-data.tar.xz'
