#!/bin/bash
# What the medium is made of: manifest.sh DIRECTORY, where unpack.sh was. One line a package.
# Licences are those that the machine-readable copyright file of a package names.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
work=$1
printf 'package\tversion\tsource\tsha256\tlicences\n'
while read -r package; do
  fields=$(dpkg-deb --show --showformat='${Package}\t${Version}\t${source:Package} ${source:Version}' "$package")
  copyright=$(cat "$work"/*/usr/share/doc/"${fields%%	*}"/copyright 2> /dev/null || true)
  licences=$(echo "$copyright" | sed -n 's/^License: *//p' | sort -u | paste -sd ';')
  printf '%s\t%s\t%s\n' "$fields" "$(sha256sum "$package" | cut -d' ' -f1)" "${licences:-see its copyright file}"
done < "$work/kept"
