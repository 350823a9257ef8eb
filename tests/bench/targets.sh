#!/bin/sh
# Rates of targets in the network, for docs/targets.md: servers on this machine that serve memory. Needs root.
#
# usage: targets.sh DIRECTORY-OF-PROGRAMS [MEBIBYTES] [ROUNDS]
set -eu

for target in nfs smb s3; do
  TMPDIR=/dev/shm "$1/target_rates" "$target" "${2:-1024}" "${3:-3}"
  echo
done
