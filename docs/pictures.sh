#!/bin/bash
# Draws the pictures of the README from a real run of the demonstration, and those of the screens from the snapshots
# that the tests compare. Needs root; `pictures.sh screens` draws the screens alone, and does not.
#
#   pictures.sh PROGRAM|screens
set -euo pipefail
here=$(dirname "$(realpath "$0")")
screens() {
  local language name
  for language in en ja; do
    for name in 02-task 07-image-name 09-disks 12-save-plan 14-running 16-result 20-restore-plan 21-scope 23-typed-wrong 24-refused; do
      python3 "$here/picture.py" "sosei" <"$here/../crates/tui/tests/snapshots/$language-80x24/$name.txt" \
        >"$here/pictures/screen-$language-$name.svg"
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
