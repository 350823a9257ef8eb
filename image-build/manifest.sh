#!/bin/bash
# What the medium is made of: manifest.sh DIRECTORY, where unpack.sh was. One line a package.
# Licences are those that the machine-readable copyright file of a package names; on the medium all these files are in
# /usr/share/doc.
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

# Firmware that somebody gave: known by a digest of all its files; the files among them that tell its licences are named.
if [ -n "$SOSEI_FIRMWARE" ]; then
  cd "$SOSEI_FIRMWARE"
  files=$(find -L . -type f -printf '%P\n' | sort)
  [ -n "$files" ] || fail "no file is in $SOSEI_FIRMWARE"
  digest=$(xargs -d '\n' sha256sum <<< "$files" | sha256sum | cut -d' ' -f1)
  licences=$(grep -iE '(^|/)(licen[cs]e|copy(ing|right)|whence)[^/]*$' <<< "$files" | paste -sd ';' || true)
  printf '(firmware)\t%s files\t%s\t%s\t%s\n' "$(wc -l <<< "$files")" "$(basename "$PWD")" "$digest" "${licences:-not told}"
fi
