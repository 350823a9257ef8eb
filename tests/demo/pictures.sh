#!/bin/bash
# Takes the pictures of docs/images: the first console of the live medium in English and Japanese, as QEMU shows it.
# Needs `cargo build --workspace`, and root as the tests of virtual machines do.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p docs/images
SOSEI_PICTURES=$PWD/docs/images cargo test --workspace --test vm_boot -- every_console
ls -l docs/images
