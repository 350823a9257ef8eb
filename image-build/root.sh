#!/bin/bash
# Makes the root file system out of what unpack.sh left: root.sh PROGRAM MANIFEST DIRECTORY
set -euo pipefail
. "$(dirname "$0")/settings.sh"
program=$1 manifest=$2 work=$3 root=$3/root

lines "$here/prune.txt" | (cd "$root" && while read -r pattern; do rm -rf $pattern; done)

# The kernel's modules, those that root.txt names.
kernel=$(basename "$work"/kernel/lib/modules/*)
depmod -b "$work/kernel" "$kernel"
modules=$root/usr/lib/modules/$kernel
mkdir -p "$modules"
"$here/modules.sh" "$work/kernel/lib/modules/$kernel" "$initramfs/modules/root.txt" > "$work/modules"
tar -c -C "$work/kernel/lib/modules/$kernel" -T "$work/modules" | tar -x -C "$modules"
cp "$work/kernel/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$modules"
depmod -b "$root" "$kernel"
if [ -n "$SOSEI_FIRMWARE" ]; then
  mkdir -p "$root/usr/lib/firmware"
  cp -rL "$SOSEI_FIRMWARE"/. "$root/usr/lib/firmware/"
fi

# The font of the screens on a framebuffer: what is written in Europe and in Japan, sorted by number. Names of file
# systems may hold any of it.
font=$root/usr/share/unifont/unifont_jp.hex
[ -f "$font" ] || fail "the package unifont has no unifont_jp.hex"
awk -F: 'length($1) == 4 && ($1 >= "0020" && $1 < "0590" || $1 >= "1E00" && $1 < "3400" || $1 >= "4E00" && $1 < "A000" ||
  $1 >= "F900" && $1 < "FB00" || $1 >= "FF00" && $1 < "FFE8" || $1 == "FFFD")' "$font" > "$work/font.hex"
rm -r "$root/usr/share/unifont"

# Our own files, and the program.
mkdir -p "$root"/{dev,proc,sys,run,tmp,mnt,root,etc,var/lib,usr/lib/sosei}
cp -r --no-preserve=mode "$initramfs/root/." "$root/"
chmod 755 "$root"/usr/lib/sosei/* "$root/usr/sbin/init"
install -m 755 "$program" "$root/usr/bin/sosei"
strip --strip-debug "$root/usr/bin/sosei"
cp "$manifest" "$root/usr/share/sosei-packages.tsv"
cp "$work/font.hex" "$root/usr/share/sosei-font.hex"
ln -sfn /proc/self/mounts "$root/etc/mtab"
ln -sfn /run "$root/var/run"
ln -sfn /run/resolv.conf "$root/etc/resolv.conf"
# What scripts of packages would have made.
find "$root/usr/share/ca-certificates/mozilla" -name '*.crt' | sort | xargs cat > "$root/etc/ssl/certs/ca-certificates.crt"
ldconfig -r "$root"
# It remembers times and inodes of this build.
rm -rf "$root/var/cache"

# The shell runs its own commands before those of packages, unless they are functions.
"$root/usr/bin/busybox" --list | grep -x '[a-z][a-z0-9]*' | grep -vxE 'busybox|sh|ash|init' | while read -r applet; do
  for directory in usr/sbin usr/bin; do
    if [ -f "$root/$directory/$applet" ]; then echo "$applet() { /$directory/$applet \"\$@\"; }"; fi
  done
done > "$root/usr/lib/sosei/tools"

# Commands that no package brought come from busybox.
"$root/usr/bin/busybox" --list | while read -r applet; do
  [ -e "$root/usr/bin/$applet" ] || [ -e "$root/usr/sbin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done
ln -sfn ../../bin/busybox "$root/usr/lib/sosei/init"
