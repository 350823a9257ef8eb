#!/bin/bash
# Which modules of a kernel a list asks for: modules.sh MODULES LIST. Prints their paths below MODULES, the directory
# that depmod was run for. Fails where a name or a directory of the list brings nothing: what is missing is found out
# here, and not in front of a dead server.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
modules=$1 list=$2
lines "$list" | awk -v modules="$modules" '
  function name(path) { sub(/.*\//, "", path); sub(/\.ko.*/, "", path); gsub(/-/, "_", path); return path }
  BEGIN {
    while ((getline line < (modules "/modules.dep")) > 0) {
      path = line; sub(/:.*/, "", path)
      needs[path] = substr(line, length(path) + 2)
      path_of[name(path)] = path
    }
    while ((getline line < (modules "/modules.builtin")) > 0) is_built_in[name(line)] = 1
  }
  {
    wanted = $1; is_left_out = sub(/^!/, "", wanted); hits = 0
    if (wanted ~ /\/$/) {
      for (path in needs) if (index(path, "kernel/" wanted) == 1) { take(path, is_left_out, 0); hits++ }
    } else {
      wanted = name(wanted)
      if (wanted in path_of) { take(path_of[wanted], is_left_out, 1); hits++ }
      else if (wanted in is_built_in) hits++
    }
    if (!hits) { print "the kernel has no module " $1 > "/dev/stderr"; failed = 1 }
  }
  # A name of its own weighs more than the "!" of a directory.
  function take(path, is_left_out, is_named) {
    if (is_left_out) left_out[path] = 1; else taken[path] = 1
    if (is_named && !is_left_out) named[path] = 1
  }
  END {
    if (failed) exit 1
    for (path in taken) if (path in named || !(path in left_out)) {
      print path
      count = split(needs[path], needed, " ")
      for (i = 1; i <= count; i++) print needed[i]
    }
  }' | sort -u
