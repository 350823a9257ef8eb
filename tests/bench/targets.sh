#!/bin/sh
# Rates of targets in the network, for docs/targets.md. Needs root.
#
# usage: targets.sh DIRECTORY-OF-PROGRAMS [WHERE] [MEBIBYTES]
set -eu

"$1/nfs_rate" "${2:-/dev/shm}" "${3:-1024}"
