# What a build can be told, by the environment. Sourced by the other scripts.

# The Debian release whose kernel, loaders and tools are taken.
: "${SOSEI_SUITE:=bookworm}"
: "${SOSEI_MIRROR:=http://deb.debian.org/debian}"
: "${SOSEI_SECURITY_MIRROR:=http://deb.debian.org/debian-security}"
# Downloaded packages are kept here, outside the tree.
: "${SOSEI_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/sosei/packages}"
# zstd level of the root file system: 19 for a release, 6 for a quick build.
: "${SOSEI_LEVEL:=19}"
# Packages with firmware that is not free, for example "firmware-bnx2 firmware-qlogic".
: "${SOSEI_FIRMWARE_PACKAGES:=}"
# A directory with firmware files, laid out as /lib/firmware.
: "${SOSEI_FIRMWARE:=}"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
initramfs=$here/../initramfs
export LC_ALL=C TZ=UTC PATH=$PATH:/usr/sbin:/sbin
# The same permissions whoever builds.
umask 022

# The lines of a list, without comments.
lines() { sed 's/#.*//' "$@" | awk 'NF { for (i = 1; i <= NF; i++) print $i }'; }

fail() { echo "$(basename "$0"): $*" >&2; exit 1; }
