#!/bin/sh
# Runs the sessions that the operator's guides quote and writes what the program says to docs/sessions/*.txt and
# into the guides, below each line <!-- session NAME -->.
#
#   docs/sessions.sh [PROGRAM]        default: target/release/sosei
#
# Needs sfdisk, mkfs.ext4 (e2fsprogs), mkfs.vfat (dosfstools). Disks are small files in a temporary directory; no
# real disk is opened but for the read-only look at what is attached that every restore takes. Host names, times,
# rates and serial numbers in the output are those of the machine that ran it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../target/release/sosei}
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
out=$here/sessions
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/bin" "$work/usb" "$work/full" "$work/node"
ln -s "$program" "$work/bin/sosei"
PATH=$work/bin:$PATH:/usr/sbin:/sbin
cd "$work"

# session NAME: begins a file; show COMMAND...: runs and records a command with its exit status.
session() { file=$out/$1.txt; : >"$file"; }
show() {
    line='$'
    for word in "$@"; do case $word in *" "*) line="$line \"$word\"" ;; *) line="$line $word" ;; esac; done
    echo "$line" >>"$file"
    status=0
    "$@" >>"$file" 2>&1 </dev/null || status=$?
    [ "$status" = 0 ] || echo "(exit status $status)" >>"$file"
}

truncate -s 64M sda.img
printf 'label: gpt\nlabel-id: 6A6E0D5C-7B21-4C6B-8E3D-50534F534549\nsize=8M, type=U, name=ESP, uuid=00000000-0000-4000-8000-000000000001\nsize=24M, type=L, name=root, uuid=00000000-0000-4000-8000-000000000002\n' |
    sfdisk -q sda.img
dd if=/dev/zero of=esp bs=1M count=8 status=none
mkfs.vfat -n ESP -i 5053A11E esp >/dev/null
echo 'set default=0' >node/grub.cfg
dd if="$program" of=node/program bs=64k count=60 status=none
truncate -s 24M root.img
mkfs.ext4 -q -F -L root -U 11111111-2222-3333-4444-555555555555 -d node root.img
dd if=esp of=sda.img bs=1M seek=1 conv=notrunc status=none
dd if=root.img of=sda.img bs=1M seek=9 conv=notrunc status=none

for lang in en ja; do
    LC_ALL=C.UTF-8
    export LC_ALL
    s=$lang
    rm -rf usb; mkdir usb
    truncate -s 0 sdb.img; truncate -s 64M sdb.img
    session "$s-disks";   show sosei --lang $lang disks sda.img
    session "$s-save";    show sosei --lang $lang save --note "before the update" usb node-a sda.img
    session "$s-again";   show sosei --lang $lang save usb node-a sda.img
                          show sosei --lang $lang save usb node-a.2 sda.img
    session "$s-images";  show sosei --lang $lang images usb
                          show sosei --lang $lang show usb node-a
    session "$s-verify";  show sosei --lang $lang verify usb
                          show sosei --lang $lang verify --quick usb
    session "$s-restore"; show sosei --lang $lang restore usb node-a sdb.img
                          show sosei --lang $lang restore --yes usb node-a sdb.img
                          show sosei --lang $lang compare usb node-a sdb.img
    session "$s-differs"; printf x | dd of=sdb.img bs=1 seek=1048580 conv=notrunc status=none
                          show sosei --lang $lang compare usb node-a sdb.img
    session "$s-region";  show sosei --lang $lang restore --yes --region p1 usb node-a sdb.img
                          show sosei --lang $lang compare usb node-a sdb.img
    truncate -s 96M large.img
    session "$s-larger";  show sosei --lang $lang restore --yes --grow last usb node-a large.img
    truncate -s 0 copy.img; truncate -s 64M copy.img
    session "$s-identity"; show sosei --lang $lang restore --yes --identity new usb node-a copy.img
    rm -f names.json; cp --sparse=always copy.img other.img
    session "$s-names";   show sosei --lang $lang identity report sda.img
                          show sosei --lang $lang identity save names.json sda.img
                          show sosei --lang $lang identity apply --yes names.json other.img
    truncate -s 64M empty.img
    session "$s-layout";  show sosei --lang $lang restore --yes --layout-only usb node-a empty.img
    truncate -s 16M small.img
    session "$s-small";   show sosei --lang $lang restore --yes usb node-a small.img
    session "$s-inside";  cp --sparse=always sda.img usb/sda.img
                          show sosei --lang $lang save usb inside usb/sda.img
                          rm usb/sda.img
    # A target that is full after 750 KiB of a file; the same save again, on a target with space.
    rm -rf full; mkdir full
    session "$s-interrupted"
                          (trap '' XFSZ; ulimit -f 1500; show sosei --lang $lang save full node-b sda.img)
                          show sosei --lang $lang images full
                          show sosei --lang $lang save full node-b sda.img
    session "$s-absent";  show sosei --lang $lang save /mnt/absent node-a sda.img
    pack=$(find usb/packs -name '*.pack' | sort | head -n 1)
    session "$s-damage";  printf '\377\377\377\377' | dd of="$pack" bs=1 seek=5000 conv=notrunc status=none
                          show sosei --lang $lang verify usb
                          show sosei --lang $lang restore --yes usb node-a empty.img
done
# The name of the directory means nothing to a reader.
sed -i "s|$work/||g; s|$work|.|g" "$out"/*.txt

# The guides quote the files: each block below its marker is written anew.
for guide in "$here"/operators-guide*.md; do
    awk -v directory="$out" '
        /^<!-- session [a-z-]+ -->$/ {
            print; print "```console"
            while ((getline line < (directory "/" $3 ".txt")) > 0) print line
            print "```"; skipping = 2; next
        }
        skipping && /^```/ { skipping--; next }
        !skipping
    ' "$guide" >"$work/guide"
    cat "$work/guide" >"$guide"
done
