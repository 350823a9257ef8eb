# Makes the two disks of a sample server as files, with the tools that a real server is made with.
# Sourced by the demonstration and the benchmarks. Needs root, for loop devices and mounts.
#
#   make_server DIRECTORY MIB    system.img (GPT: EFI, ext4 root of about MIB used, XFS data, swap)
#                                data.img   (MBR: NTFS, logical FAT32 and ext3)

# Everything that must be taken down again, last first.
undo=()
take_down() {
  local step
  for ((step = ${#undo[@]} - 1; step >= 0; step--)); do eval "${undo[step]}"; done
  undo=()
}
trap take_down EXIT

# A partition of a disk file as a loop device: the kernel need not know the table.
#   attach FILE SECTOR SECTORS
attach() {
  losetup --find --show --offset $(($2 * 512)) --sizelimit $(($3 * 512)) "$1"
}

# Mounts a partition, runs a function with the mount point, unmounts.
#   fill FILE START SECTORS TYPE FUNCTION [ARGUMENT...]
fill() {
  local file=$1 start=$2 sectors=$3 type=$4 device place
  shift 4
  device=$(attach "$file" "$start" "$sectors")
  undo+=("losetup --detach $device")
  place=$(mktemp -d)
  mount -t "$type" "$device" "$place"
  undo+=("umount $place; rmdir $place")
  "$1" "$place" "${@:2}"
  sync --file-system "$place"
  take_down
}

# Real programs, libraries and texts of this machine, about MIB of them, then some deleted again.
#   fill_root PLACE MIB
fill_root() {
  local place=$1 left=$(($2 * 1024)) directory size
  mkdir -p "$place"/{etc,usr,var/log,srv}
  cp -a /etc/. "$place/etc/" 2>/dev/null || true
  for directory in /usr/share/doc /usr/bin /usr/sbin /usr/lib/python3* /usr/share/[a-m]* /usr/lib/x86_64-linux-gnu \
    /usr/lib/gcc* /usr/include /usr/lib/[!px]* /usr/share/[n-z]* "$(rustc --print sysroot 2>/dev/null)"/lib; do
    [ -e "$directory" ] || continue
    size=$(du --summarize --block-size=1K "$directory" 2>/dev/null | cut -f1)
    [ "$size" -le "$left" ] || continue
    mkdir -p "$place$(dirname "$directory")"
    cp -a "$directory" "$place$(dirname "$directory")/" 2>/dev/null || true
    left=$((left - size))
  done
  # A log that grew in pieces, and files that came and went: free blocks with old contents between used ones.
  local number
  for number in $(seq 40); do
    head --bytes=700K "$(readlink -f /proc/self/exe)" >"$place/var/log/old.$number"
    date --utc --date=@$((1700000000 + number)) >>"$place/var/log/syslog"
  done
  rm "$place"/var/log/old.*[13579]
}

fill_small() {
  local place=$1 number
  mkdir -p "$place/データ" "$place/cluster"
  cp /usr/share/common-licenses/* "$place/cluster/"
  for number in $(seq 60); do
    seq "$number" $((number * 700)) >"$place/データ/表$number.txt"
  done
  rm "$place"/データ/表*[024].txt
}

fill_data() {
  fill_small "$1"
  head --bytes=90M /dev/urandom >"$1/database.bin"
  truncate --size=5G "$1/sparse.bin"
}

fill_esp() {
  mkdir -p "$1/EFI/debian"
  head --bytes=160K "$(readlink -f /proc/self/exe)" >"$1/EFI/debian/grubx64.efi"
  echo 'search.fs_uuid 3c9e4f0e root' >"$1/EFI/debian/grub.cfg"
}

make_server() {
  local directory=$1 mib=$2 system data loop
  system=$directory/system.img data=$directory/data.img
  rm -f "$system" "$data"
  truncate --size=$((mib * 2 + 3072))M "$system"
  truncate --size=1G "$data"

  # Boot code in the MBR and behind it, as GRUB leaves it on BIOS machines.
  head --bytes=440 /usr/bin/ls | dd of="$system" conv=notrunc status=none
  sgdisk --disk-guid=5EED5EED-0000-4000-8000-000000000001 \
    --new=1:2048:+64M --typecode=1:ef00 --change-name=1:'EFI system' \
    --new=2:0:+$((mib * 2))M --typecode=2:8300 --change-name=2:'ルート' \
    --new=3:0:+1G --typecode=3:8300 --change-name=3:data --attributes=3:set:63 \
    --new=4:0:+512M --typecode=4:8200 --change-name=4:swap "$system" >/dev/null
  dd if=/usr/bin/ls of="$system" bs=512 seek=40 count=60 conv=notrunc status=none

  sfdisk --quiet "$data" <<'TABLE'
label: dos
label-id: 0x22c779e1
start=2048,   size=614400, type=7, bootable
start=616448, size=1480704, type=f
start=618496, size=409600, type=c
start=1030144, size=409600, type=83
TABLE
  head --bytes=440 /usr/bin/cat | dd of="$data" conv=notrunc status=none

  local root_sectors=$((mib * 4096)) data_start
  data_start=$((133120 + root_sectors))
  on_partition "$system" 2048 131072 mkfs.vfat -F 32 -n ESP
  on_partition "$system" 133120 $root_sectors mkfs.ext4 -q -L root
  on_partition "$system" $data_start 2097152 mkfs.xfs -q -f -L data
  on_partition "$system" $((data_start + 2097152)) 1048576 mkswap --quiet -L swap
  on_partition "$data" 2048 614400 mkntfs --quick --force --quiet --label 業務 \
    --partition-start 2048 --heads 255 --sectors-per-track 63
  on_partition "$data" 618496 409600 mkfs.vfat -F 32 -n SHARE
  on_partition "$data" 1030144 409600 mkfs.ext3 -q -L backup
  copy_with_mtools "$system" 2048
  fill "$system" 133120 $root_sectors ext4 fill_root "$mib"
  fill "$system" $data_start 2097152 xfs fill_data
  fill_ntfs "$data" 2048 614400
  fill "$data" 1030144 409600 ext3 fill_small
}

# Runs mkfs or another tool on a partition.
#   on_partition FILE START SECTORS COMMAND...
on_partition() {
  local device
  device=$(attach "$1" "$2" "$3")
  undo+=("losetup --detach $device")
  "${@:4}" "$device" >/dev/null
  take_down
}

# FAT is filled without the kernel: it may lack the driver.
copy_with_mtools() {
  local tree
  tree=$(mktemp -d)
  fill_esp "$tree"
  mcopy -s -i "$1@@$(($2 * 512))" "$tree/EFI" ::
  rm -r "$tree"
}

fill_ntfs() {
  local device place
  device=$(attach "$1" "$2" "$3")
  undo+=("losetup --detach $device")
  place=$(mktemp -d)
  ntfs-3g "$device" "$place"
  undo+=("umount $place; rmdir $place")
  fill_small "$place"
  umount "$place"
  # The driver is a process: what it wrote is there when it has ended.
  while pgrep --full "ntfs-3g $device " >/dev/null; do :; done
  undo[-1]="rmdir $place"
  take_down
}
