#!/bin/bash
# Draws the pictures of the README from a real run of the demonstration. Needs root.
#
#   pictures.sh PROGRAM
set -euo pipefail
here=$(dirname "$(realpath "$0")")
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
