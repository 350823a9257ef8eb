#!/bin/bash
# Puts the boot menu into a directory: menu.sh FONT DIRECTORY. Entries, what the picture shows, its characters, and a
# place for arguments of one machine. FONT is GNU Unifont as numbers and dots (font.hex).
set -euo pipefail
. "$(dirname "$0")/settings.sh"
font=$1 out=$2
mkdir -p "$out/fonts"
cp "$here/grub.cfg" "$here/theme.txt" "$out/"
# Arguments for one machine can be written here later: a line of GRUB, then number signs up to the end.
head -c 4096 /dev/zero | tr '\0' '#' > "$out/job.cfg"

# The signed loaders have this font in them, and take no other under Secure Boot. Here: ASCII, frames, and what the theme
# says.
wanted=$(mktemp) && trap 'rm -f "$wanted" "$wanted.bdf"' EXIT
{ iconv -f UTF-8 -t UTF-16BE "$here/theme.txt" | od -An -v -tx1 -w2 | tr -d ' ' | tr a-f A-F
  for number in {32..126} {8592..8601} {9472..9599}; do printf '%04X\n' "$number"; done; } | sort -u > "$wanted"
awk -F: -v wanted="$wanted" '
  BEGIN { while ((getline number < wanted) > 0) is_wanted[number] = 1 }
  $1 in is_wanted { count++; glyphs = glyphs glyph() }
  function glyph(   digits, dots, line) {
    digits = length($2) / 16
    for (line = 0; line < 16; line++) dots = dots substr($2, line * digits + 1, digits) "\n"
    return sprintf("STARTCHAR U+%s\nENCODING %d\nSWIDTH %d 0\nDWIDTH %d 0\nBBX %d 16 0 -2\nBITMAP\n%sENDCHAR\n", \
      $1, decimal($1), digits * 250, digits * 4, digits * 4, dots)
  }
  function decimal(digits,   value, at) {
    for (at = 1; at <= length(digits); at++) value = value * 16 + index("0123456789ABCDEF", substr(digits, at, 1)) - 1
    return value
  }
  END {
    printf "STARTFONT 2.1\nFONT -gnu-Unifont-Medium-R-Normal--16-160-75-75-c-80-iso10646-1\nSIZE 16 75 75\n"
    printf "FONTBOUNDINGBOX 16 16 0 -2\nSTARTPROPERTIES 7\nFAMILY_NAME \"Unifont\"\nWEIGHT_NAME \"Medium\"\n"
    printf "CHARSET_REGISTRY \"ISO10646\"\nCHARSET_ENCODING \"1\"\nPIXEL_SIZE 16\nFONT_ASCENT 14\nFONT_DESCENT 2\n"
    printf "ENDPROPERTIES\nCHARS %d\n%sENDFONT\n", count, glyphs
  }' "$font" > "$wanted.bdf"
grub-mkfont -o "$out/fonts/unicode.pf2" "$wanted.bdf"
