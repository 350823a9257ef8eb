#!/bin/bash
# Downloads the packages of packages.txt with all they depend on; prints one path a line, in order.
# What was resolved once stays as it is until SOSEI_REFRESH=1: a build then needs no network.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

wanted=$(lines "$here/packages.txt"; printf '%s\n' $SOSEI_FIRMWARE_PACKAGES)
key=$(echo "$SOSEI_SUITE $SOSEI_MIRROR $SOSEI_SECURITY_MIRROR $wanted" | sha256sum | cut -c1-16)
cache=$SOSEI_CACHE/$SOSEI_SUITE resolved=$cache/resolved.$key
mkdir -p "$cache/lists/partial" "$cache/archives/partial"
# Two builds at once share the cache.
exec 9> "$cache/lock"
flock 9

if [ -z "${SOSEI_REFRESH:-}" ] && [ -f "$resolved" ] && (cd "$cache/archives" && xargs ls < "$resolved") > /dev/null 2>&1; then
  sed "s|^|$cache/archives/|" "$resolved"
  exit
fi

signed="[arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
components=main${SOSEI_FIRMWARE_PACKAGES:+ non-free-firmware}
printf 'deb %s %s\n' "$signed" "$SOSEI_MIRROR $SOSEI_SUITE $components" \
  "$signed" "$SOSEI_MIRROR $SOSEI_SUITE-updates $components" \
  "$signed" "$SOSEI_SECURITY_MIRROR $SOSEI_SUITE-security $components" > "$cache/sources.list"
: > "$cache/status"

# A package system of its own, in which nothing is installed: the machine that builds has no say in what is taken.
apt() {
  apt-get -qq -o Dir::State="$cache" -o Dir::State::Lists="$cache/lists" -o Dir::State::status="$cache/status" \
    -o Dir::Cache="$cache" -o Dir::Cache::archives="$cache/archives" -o Dir::Etc::SourceList="$cache/sources.list" \
    -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Parts=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
    -o APT::Architecture=amd64 -o APT::Install-Recommends=false -o APT::Sandbox::User= \
    -o Acquire::Languages=none -o Acquire::Retries=3 -o Debug::NoLocking=1 "$@"
}
apt update >&2
# With an empty archive, since what is there already would not be named.
apt -o Dir::Cache::archives="$cache/lists" --print-uris install $wanted | awk '{ print $2 }' | sort > "$resolved.new"
[ -s "$resolved.new" ] || fail "nothing was resolved"
apt --download-only --yes install $wanted >&2
(cd "$cache/archives" && xargs ls < "$resolved.new") > /dev/null || fail "packages are missing in $cache/archives"
mv "$resolved.new" "$resolved"
sed "s|^|$cache/archives/|" "$resolved"
