#!/bin/sh
# Fetches the samples that util-linux tests its probing with, and what it expects to find in them, into
# build/util-linux. Does nothing where they are. Fetched with apt's own helper, so that its mirrors and proxies serve.
set -eu

version=2.41
sha256=81ee93b3cfdfeb7d7c4090cedeba1d7bbce9141fd0b501b686b3fe475ddca4c6
file="util-linux_$version.orig.tar.xz"
place="pool/main/u/util-linux/$file"

build="$(cd "$(dirname "$0")/.." && pwd)/build"
samples="$build/util-linux/$version"
[ ! -e "$samples/complete" ] || exit 0

# The mirrors that apt uses for Debian itself, and the one that every Debian knows.
mirrors="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | sort -u)"
mkdir -p "$build/util-linux"
work="$(mktemp -d "$build/util-linux/unfinished.XXXXXX")"
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
tar -C "$work" -xf "$work/$file" --strip-components=1 --wildcards '*/tests/ts/blkid/images-fs/*' '*/tests/expected/blkid/low-probe-*'
mkdir -p "$samples"
cp -r "$work/tests/ts/blkid/images-fs" "$work/tests/expected/blkid/." "$samples/"
touch "$samples/complete"
