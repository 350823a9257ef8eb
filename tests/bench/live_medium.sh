#!/bin/bash
# Measures the live medium, with the release program and the compression of a release, and writes its part of
# docs/benchmarks.md: live_medium.sh PROGRAM. Processor seconds are those of QEMU without hardware support.
set -euo pipefail
program=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
page=$here/../../docs/benchmarks.md
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
began=$SECONDS
"$here/../../image-build/medium.sh" "$program" "$out" > "$out/log"
took=$((SECONDS - began))
mib() { stat -c %s "$out/$1" | awk '{ printf "%.1f", $1 / 1048576 }'; }
# The program for the tests, and the tests that print times and memory; one after the other.
cd "$here/../.."
cargo build --quiet --workspace
cargo test --quiet --workspace --test vm_boot -- --nocapture --test-threads 1 --include-ignored \
  in_384_mib the_first_screen > "$out/printed"
sed -n 's/^.*\.\.\. //; s/^\.\.*//; /s of the processor\|MiB available\|times the bare/p' "$out/printed" > "$out/times"

rest=$(sed '/^## Live medium/,$d' "$page")
{
  printf '%s\n\n## Live medium\n\n' "$rest"
  echo "Measured by tests/bench/live_medium.sh on $(date +%F), $(nproc) cores, $(qemu-system-x86_64 --version | head -1), no hardware support. Times are up to the first console, with the quick compression of the tests."
  printf '\n| | MiB |\n|---|---|\n'
  for file in sosei.iso vmlinuz initrd.img root.img; do echo "| $file | $(mib $file) |"; done
  printf '\nBuilt in %s s, with packages cached.\n\n```\n%s\n```\n' "$took" "$(cat "$out/times")"
} > "$out/page"
cp "$out/page" "$page"
