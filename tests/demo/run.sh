#!/bin/bash
# The main job, on a sample server: save two disks, wipe them, bring them back, and prove it with the
# tools of the file systems. Prints a short report. Needs root.
#
#   run.sh PROGRAM [MIB]
set -euo pipefail

program=$(realpath "$1")
mib=${2:-400}
here=$(dirname "$(realpath "$0")")
work=$(mktemp --directory --tmpdir sosei-demo.XXXXXX)
. "$here/sample-server.sh"
trap 'take_down; rm -rf "$work"' EXIT

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
shown() {
  printf '\033[1m$ %s\033[0m\n' "sosei $*"
  "$program" "$@"
}

step "A sample server: two disks, made with sgdisk, sfdisk, mkfs, ntfs-3g and mtools"
make_server "$work" "$mib"
cd "$work"
mkdir repository
identities() {
  local disk
  for disk in system data; do
    sfdisk --dump "$1$disk.img" | grep --invert-match --extended-regexp '^(device|first-lba|last-lba)' |
      sed "s|^.*$disk.img|$disk|"
    blkid --probe --match-tag PTUUID --output export "$1$disk.img" | grep PTUUID
  done
  local place
  for place in "system 2048 131072" "system 133120 $((mib * 4096))" "system $((133120 + mib * 4096)) 2097152" \
    "system $((133120 + mib * 4096 + 2097152)) 1048576" "data 2048 614400" "data 618496 409600" "data 1030144 409600"; do
    set -- "$1" $place
    echo "$2 $3 $(blkid --probe --output full --offset $(($3 * 512)) --size $(($4 * 512)) "$1$2.img" |
      grep --only-matching --extended-regexp ' (TYPE|UUID|LABEL)="[^"]*"' | sort | tr -d '\n')"
  done
}
identities "" >identities.before

step "What is on the disks"
shown disks system.img data.img

step "Save both disks as one image"
shown save repository node-a system.img data.img --note 'before maintenance'

step "The same again, as the next generation: nothing is stored twice"
shown save repository node-a.2 system.img data.img

step "The disks are lost"
mkdir lost
mv system.img data.img lost/
for disk in system data; do
  size=$(stat --format=%s "lost/$disk.img")
  # Old bytes everywhere, so that anything that is not restored shows.
  head --bytes="$size" /dev/zero | tr '\0' '\245' >"$disk.img"
done
echo "system.img and data.img now hold 0xA5 in every byte"

step "Bring them back"
shown restore repository node-a system=system.img data=data.img --yes

step "Proof"
shown compare repository node-a system=system.img data=data.img
shown verify repository
identities "" >identities.after
diff identities.before identities.after
echo "partition tables, signatures, GUIDs, file-system UUIDs and labels: the same ($(wc --lines <identities.after) lines compared)"
check() {
  local name=$1 file=$2 start=$3 sectors=$4 device
  shift 4
  device=$(attach "$file" "$start" "$sectors")
  undo+=("losetup --detach $device")
  "$@" "$device" >"check.log" 2>&1 || { cat check.log; echo "$name: NOT CLEAN"; exit 1; }
  take_down
  echo "$name: clean ($1 ${2-})"
}
root_sectors=$((mib * 4096))
data_start=$((133120 + root_sectors))
sgdisk --verify system.img | grep 'No problems found'
check "EFI, FAT32" system.img 2048 131072 fsck.fat -n
check "root, ext4" system.img 133120 $root_sectors e2fsck -fn
check "data, XFS" system.img $data_start 2097152 xfs_repair -n
check "業務, NTFS" data.img 2048 614400 ntfsfix -n
check "SHARE, FAT32" data.img 618496 409600 fsck.fat -n
check "backup, ext3" data.img 1030144 409600 e2fsck -fn

# Every file with its contents, owner, mode and times.
tree_of() {
  local device place
  device=$(attach "$1" "$2" "$3")
  undo+=("losetup --detach $device")
  place=$(mktemp -d)
  mount -o ro "$device" "$place"
  undo+=("umount $place; rmdir $place")
  (cd "$place" && find . -printf '%p %y %m %U %G %T@ %l\n' | sort && find . -type f -size -100M -print0 | sort --zero-terminated | xargs --null sha256sum)
  take_down
}
for place in "system $((133120)) $root_sectors" "system $data_start 2097152" "data 1030144 409600"; do
  set -- $place
  tree_of "lost/$1.img" "$2" "$3" >tree.before
  tree_of "$1.img" "$2" "$3" >tree.after
  diff --brief tree.before tree.after
  echo "files of $1.img at sector $2: the same ($(grep --count ' f ' tree.after) files, contents and attributes)"
done

step "In short"
"$program" --json show repository node-a | jq --raw-output '.manifest.totals |
  "disks        \(.disk_bytes / 1048576 | floor) MiB",
  "saved        \(.saved_bytes / 1048576 | floor) MiB in \(.milliseconds / 1000) s: used blocks, gaps, boot code",
  "skipped      \((.disk_bytes - .saved_bytes) / 1048576 | floor) MiB: free space of the file systems, contents of swap",
  "zeros        \(.zero_bytes / 1048576 | floor) MiB, restored and not stored",
  "stored       \(.stored_bytes / 1048576 | floor) MiB"'
echo "repository   $(du --summarize --block-size=1M repository | cut -f1) MiB with both images"
echo "everything is as it was"
