#!/bin/bash
# Measures the program side by side with partclone and zstd on the same sparse files, and against the
# limits of zstd and the disk. Prints a page in Markdown; `make bench` keeps it as docs/benchmarks.md.
# Needs root, 20 GiB of disk, and a machine with nothing else to do.
#
#   run.sh DIRECTORY_OF_PROGRAMS [ROUNDS] [MIB]
set -euo pipefail

programs=$(realpath "$1")
rounds=${2:-5}
mib=${3:-1700}
here=$(dirname "$(realpath "$0")")
out=$here/../../docs/benchmarks.md
work=$(mktemp --directory --tmpdir sosei-bench.XXXXXX)
. "$here/../demo/sample-server.sh"
trap 'take_down; rm -rf "$work"' EXIT
cd "$work"
sosei=$programs/sosei
say() { echo "bench: $*" >&2; }

# Wall seconds, peak memory (KiB), processor seconds of the program and of the system for it: appended to a file.
measure() {
  local name=$1
  shift
  # What the command before left in the page cache is not this one's work to write.
  sync
  /usr/bin/time --format '%e %M %U %S' --output measured bash -o pipefail -c "$*" >/dev/null 2>log || { cat log >&2; exit 1; }
  tail -n 1 measured >>"$name.times"
}
median() { # NAME [COLUMN]
  awk -v c="${2:-1}" '{ print $c }' "$1.times" | sort --numeric-sort | awk '{ t[NR] = $1 } END { printf "%.2f", t[int((NR + 1) / 2)] }'
}
least() { awk -v c="${2:-1}" '{ print $c }' "$1.times" | sort --numeric-sort | awk 'NR == 1 { printf "%.2f", $1 }'; } # NAME [COLUMN]
minus() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a - b }'; }
spread() { sort --numeric-sort "$1.times" | awk '{ t[NR] = $1 } END { printf "%.2f to %.2f", t[1], t[NR] }'; }
peak() { awk '$2 > m { m = $2 } END { printf "%d", m / 1024 }' "$1.times"; }
ratio() { awk -v a="$1" -v b="$2" -v d="${3:-2}" 'BEGIN { printf "%.*f", d, a / b }'; }
mib_of() { awk -v b="$1" 'BEGIN { printf "%.0f", b / 1048576 }'; }
json() { "$sosei" --json "${@:2}" | jq --raw-output "$1"; }

make_root() { # FILE SIZE
  truncate --size="$2" "$1"
  mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -L root "$1"
}
fill_noinit() { # FILE FUNCTION ARGUMENT [KIND]: without the kernel's background thread that fills inode tables
  local device place
  device=$(losetup --find --show "$1")
  undo+=("losetup --detach $device")
  place=$(mktemp -d)
  if [ "${4:-ext4}" = ext4 ]; then mount -o noinit_itable "$device" "$place"; else mount "$device" "$place"; fi
  undo+=("umount $place; rmdir $place")
  "$2" "$place" "$3"
  take_down
}

say "making a file system with about $mib MiB used"
make_root root.img 10G
fill_noinit root.img fill_root "$mib"
cat root.img >/dev/null

say "saving, $rounds rounds"
for round in $(seq "$rounds"); do
  rm -rf repo3 repoauto out.zst && mkdir repo3 repoauto
  measure partclone "partclone.extfs -c -s root.img -o - | zstd -q -T0 -3 -o out.zst"
  measure save3 "$sosei save repo3 one root.img --level 3"
  measure saveauto "$sosei save repoauto one root.img"
  "$programs/limit" root.img 3 >limit
  awk '$1 == "compress" { print $2, 0, $5 }' limit >>limit3.times
  awk '$1 == "records" { print $2, 0, $3 }' limit >>records3.times
  awk '$1 == "decompress" { print $2, 0 }' limit >>unlimit3.times
done
used=$(json '.manifest.totals.saved_bytes' show repo3 one)
stored3=$(json '.manifest.totals.stored_bytes' show repo3 one)
storedauto=$(json '.manifest.totals.stored_bytes' show repoauto one)
partclone_size=$(stat --format=%s out.zst)

say "restoring, $rounds rounds"
for round in $(seq "$rounds"); do
  rm -f to.img && truncate --size=10G to.img
  measure unpartclone "zstd -q -dc out.zst | partclone.restore -s - -O to.img"
  rm -f to.img && truncate --size=10G to.img
  measure restore "$sosei restore repo3 one to.img --yes --no-verify"
  rm -f to.img && truncate --size=10G to.img
  measure restoreback "$sosei restore repo3 one to.img --yes"
  rm -f to.img && truncate --size=10G to.img
  measure write "dd if=root.img of=to.img bs=1M count=$(($(mib_of "$used"))) oflag=direct conv=notrunc,fsync status=none"
done

say "second generation with 1 % changed, $rounds rounds"
cp --sparse=always root.img changed.img
change() { head --bytes=$((mib / 100))M /dev/urandom >"$1/srv/new.bin"; }
fill_noinit changed.img change ""
cat changed.img >/dev/null
changed=$((mib / 100))
for round in $(seq "$rounds"); do
  measure second "$sosei save repo3 two$round changed.img --level 3"
  stored_second=$(json '.manifest.totals.stored_bytes' show repo3 "two$round")
  [ "$round" != 1 ] || first_second=$stored_second
  # Without its chunks, so that every round has the same to do.
  rm -rf repo3 && mkdir repo3
  "$sosei" save repo3 one root.img --level 3 >/dev/null 2>&1
done

say "large disks"
make_root small.img 10G
make_root large.img 1T
fill_noinit small.img fill_root 2000
fill_noinit large.img fill_root 2000
cat small.img >/dev/null
for round in $(seq "$rounds"); do
  rm -rf repos repol && mkdir repos repol
  measure save10g "$sosei save repos one small.img --level 3"
  measure save1t "$sosei save repol one large.img --level 3"
done

say "file systems of 16 TiB"
make_huge() { # KIND FILE: 16 TiB less what a file of ext4 can't hold
  truncate --size=$(((16 << 40) - (2 << 20))) "$2"
  case $1 in
    ext4) mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$2" ;;
    xfs) mkfs.xfs -q -K -l size=64m "$2" ;;
    ntfs) mkntfs -q -Q -F -s 512 -p 0 -H 0 -S 0 "$2" 2>/dev/null ;;
    btrfs) mkfs.btrfs -q --nodiscard "$2" >/dev/null 2>&1 ;;
  esac
}
reserve() { fallocate --length 1T "$1/one" && fallocate --length 2T "$1/two"; }
for kind in ext4 xfs ntfs btrfs; do
  make_huge $kind huge.img
  # NTFS has no driver here that reserves space; the others get 3 TiB in use without a byte written.
  [ $kind = ntfs ] || fill_noinit huge.img reserve "" $kind
  "$sosei" disks huge.img >/dev/null
  for round in $(seq "$rounds"); do measure huge-$kind "$sosei disks huge.img"; done
  rm huge.img
done

say "writing $out"
row() { echo "| $1 | $2 | $3 | $4 |"; }
available=$(awk -v s="$(least save3)" -v n="$(nproc)" 'BEGIN { printf "%.2f", s * n }')
part() { echo "| $1 | $2 | $(ratio "$2" "$available") |"; }
# The live medium is measured by live_medium.sh, into the same page.
medium=$(sed -n '/^## Live medium/,$p' "$out")
cat >"$out" <<PAGE
# Benchmarks

Measured by \`make bench\` on $(date --utc +%Y-%m-%d), all rows in one run, commands in turn, median of $rounds rounds.
Machine: $(nproc) cores ($(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)), $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo) of memory, Linux $(uname --kernel-release), $(. /etc/os-release && echo "$PRETTY_NAME").
Sources are sparse files in the page cache; targets are on the same disk as the sources. partclone $(dpkg-query --show --showformat='${Version}' partclone), zstd $(zstd --version | grep --only-matching --extended-regexp '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1).
The file system is ext4 of 10 GiB with $(mib_of "$used") MiB used: programs, libraries and texts of the machine.
Only ratios mean something elsewhere. A time of the program includes making everything stable on the target; that of partclone does not.

## Save

| | seconds | from, to | MiB stored |
|---|---|---|---|
$(row 'partclone.extfs -c -s DISK -o - \| zstd -T0 -3' "$(median partclone)" "$(spread partclone)" "$(mib_of "$partclone_size")")
$(row 'sosei save --level 3' "$(median save3)" "$(spread save3)" "$(mib_of "$stored3")")
$(row 'sosei save --level auto' "$(median saveauto)" "$(spread saveauto)" "$(mib_of "$storedauto")")
$(row 'limit: zstd level 3 on the same chunks, all cores, nothing else' "$(median limit3)" "$(spread limit3)" '')
$(row 'the same with the names (BLAKE3) and checks of the records' "$(median records3)" "$(spread records3)" '')
$(row 'sosei save, second time, '"$changed"' MiB changed' "$(median second)" "$(spread second)" "$(mib_of "$first_second")")

| ratio | measured | goal |
|---|---|---|
| level 3 against partclone and zstd | $(ratio "$(median partclone)" "$(median save3)") times as fast | 3 |
| size at level 3 against partclone and zstd | $(ratio "$stored3" "$partclone_size" 3) | at most 1.08 |
| level auto against partclone and zstd | $(ratio "$(median partclone)" "$(median saveauto)") times as fast | 4 |
| level 3 against the limit of zstd | $(ratio "$(median limit3)" "$(median save3)") | 0.85 |
| level 3 against zstd with names and checks | $(ratio "$(median records3)" "$(median save3)") | |
| second save against partclone's full save | $(ratio "$(median partclone)" "$(median second)") times as fast | 10 |
| stored by the second save against what changed | $(ratio "$first_second" "$((changed * 1048576))") | at most 1.5 |

Where the processors' time of a save at level 3 goes, in seconds of one processor (the quickest round of each, as the machine lends its processors to others as well):

| | seconds | part |
|---|---|---|
$(part 'zstd, as in its limit' "$(least limit3 3)")
$(part 'names and checks of the records, as in their limit' "$(minus "$(least records3 3)" "$(least limit3 3)")")
$(part 'the system for it: copying from and to the page cache, waking threads' "$(least save3 4)")
$(part 'everything else' "$(minus "$(least save3 3)" "$(least records3 3)")")
$(part 'idle' "$(minus "$available" "$(minus "$(least save3 3)" "-$(least save3 4)")")")

A profile finds nothing to speak of beside zstd and BLAKE3: "everything else" is zstd itself, which finds its tables and
the bytes of the source less often in the processor's cache where others read and write beside it.

## Restore

| | seconds | from, to |
|---|---|---|
| zstd -dc \| partclone.restore -s - -O DISK | $(median unpartclone) | $(spread unpartclone) |
| sosei restore --no-verify | $(median restore) | $(spread restore) |
| sosei restore, with reading back | $(median restoreback) | $(spread restoreback) |
| limit: decompression of the same chunks, all cores | $(median unlimit3) | $(spread unlimit3) |
| limit: writing as many bytes (dd, made stable) | $(median write) | $(spread write) |

| ratio | measured | goal |
|---|---|---|
| without reading back, against zstd and partclone | $(ratio "$(median unpartclone)" "$(median restore)") times as fast | 3 |
| without reading back, against the slower limit | $(ratio "$( (median unlimit3; echo; median write) | sort --numeric-sort | tail -n 1)" "$(median restore)") | 0.8 |

## Large disks

| | seconds | from, to | peak memory |
|---|---|---|---|
| save of a 10 GiB disk with about 2 GiB used | $(median save10g) | $(spread save10g) | $(peak save10g) MiB |
| save of a 1 TiB sparse disk with the same content | $(median save1t) | $(spread save1t) | $(peak save1t) MiB |

| ratio | measured | goal |
|---|---|---|
| 1 TiB against 10 GiB | $(ratio "$(median save1t)" "$(median save10g)") | at most 1.15 |
| largest peak memory | $( (peak save10g; echo; peak save1t) | sort --numeric-sort | tail -n 1) MiB | under 400 MiB |

## File systems of 16 TiB

What \`sosei disks\` takes to find the used blocks, in a sparse file in the page cache. Of ext4, XFS and Btrfs 3 TiB are in use; NTFS is empty.

| | seconds | from, to | peak memory |
|---|---|---|---|
$(for kind in ext4 xfs ntfs btrfs; do row "$kind" "$(median huge-$kind)" "$(spread huge-$kind)" "$(peak huge-$kind) MiB"; done)

| | measured | goal |
|---|---|---|
| the slowest | $(for kind in ext4 xfs ntfs btrfs; do median huge-$kind; echo; done | sort --numeric-sort | tail -n 1) s | under 10 s |
| the largest peak memory | $(for kind in ext4 xfs ntfs btrfs; do peak huge-$kind; echo; done | sort --numeric-sort | tail -n 1) MiB | under 300 MiB |
PAGE
[ -z "$medium" ] || printf '\n%s\n' "$medium" >>"$out"
cat "$out"
