#!/bin/bash
# Draws the pictures of the README from a real run of the demonstration, and those of the screens from the snapshots
# that the tests compare. Needs root; `pictures.sh screens` draws the screens alone, and does not.
# The screens need rsvg-convert (librsvg2-bin), pngquant, and the fonts fonts-dejavu-core and fonts-vlgothic.
#
#   pictures.sh PROGRAM|screens
set -euo pipefail
here=$(dirname "$(realpath "$0")")
screens() {
  local language name size
  mkdir -p "$here/images"
  for language in en ja; do
    for name in 02-task 07-image-name 09-disks 12-save-plan 14-running 16-result 20-restore-plan 21-scope 23-typed-wrong \
      24-refused 28-keyboard 31-network 33-connection-test; do
      python3 "$here/picture.py" "sosei" screen <"$here/../crates/tui/tests/snapshots/$language-80x24/$name.txt" |
        rsvg-convert --zoom 1.25 | pngquant --quality 60-90 --strip - >"$here/images/screen-$language-$name.png"
      size=$(stat --format=%s "$here/images/screen-$language-$name.png")
      [[ $size -lt 61440 ]] || { echo "$language-$name has $size bytes" >&2; exit 1; }
    done
  done
}
screens
[[ $1 == screens ]] && exit
program=$(realpath "$1")
shown=$(mktemp)
trap 'rm "$shown"' EXIT
"$here/../tests/demo/run.sh" "$program" 2>/dev/null >"$shown"
between() { sed --quiet "/$1/,/^\$/p" "$shown" | sed '/^$/d'; }
between '== What is on the disks' | python3 "$here/picture.py" 'sosei disks' >"$here/pictures/disks.svg"
{
  between '== Save both'
  between '== The same again'
  between '== The disks are lost'
  between '== Bring them back'
  between '== Proof'
} | python3 "$here/picture.py" 'save, lose, restore, prove' >"$here/pictures/demo.svg"
between '== Proof' >/dev/null
