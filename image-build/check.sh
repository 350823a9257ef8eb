#!/bin/bash
# Checks a root file system: check.sh ROOT. Every command of commands.txt is there and finds its libraries, and nothing
# in it activates anything by itself.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
root=$1 missing=0
report() { echo "check.sh: $*" >&2; missing=1; }

for command in $(lines "$here/commands.txt"); do
  case $command in /*) found=$root$command ;; *) found= ;; esac
  for directory in usr/sbin usr/bin; do
    if [ -e "$root/$directory/$command" ] || [ -L "$root/$directory/$command" ]; then found=$root/$directory/$command; fi
  done
  [ -n "$found" ] || { report "$command is missing"; continue; }
  # Links are those of the medium, not of this machine.
  while [ -L "$found" ]; do
    link=$(readlink "$found")
    case $link in /*) found=$root$link ;; *) found=$(dirname "$found")/$link ;; esac
  done
  [ -f "$found" ] || { report "$command leads to $found, which is missing"; continue; }
  head -c4 "$found" | grep -q ELF || continue
  echo "$found"
done > "$root/../commands"

# Libraries, and those that libraries need.
libraries=$(find "$root/usr/lib" "$root/usr/lib64" -name '*.so*' -printf '%f\n' | sort -u)
{ cat "$root/../commands"; find "$root/usr/lib/x86_64-linux-gnu" -maxdepth 1 -name '*.so*' -type f; } | while read -r file; do
  readelf -d "$file" 2> /dev/null | sed -n "s|.*(NEEDED).*\[\(.*\)\]|\1 ${file#"$root"}|p"
done | sort -u | while read -r library file; do
  grep -qxF "$library" <<< "$libraries" || echo "$file needs $library"
done > "$root/../missing"
if [ -s "$root/../missing" ]; then
  cat "$root/../missing" >&2
  missing=1
fi

if grep -rlE 'mdadm .*(-I|--incremental)|(vg|lv)change .*-a|-aay' "$root/usr/lib/udev/rules.d" >&2; then
  report "these rules activate what lies on disks"
fi
exit $missing
