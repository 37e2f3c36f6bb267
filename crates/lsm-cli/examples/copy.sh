#!/bin/sh
# What a script can rely on: exit codes, pipes, and a copy that is checked. It works in a folder of its
# own, which it removes.
#
#   cargo build --release --package lsm-cli
#   PATH="$PWD/target/release:$PATH" sh crates/lsm-cli/examples/copy.sh
set -eu
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cd "$folder"
export LSM_DB=shop

lsm put apple red
lsm put pear green
lsm put 'b"\x00\xff"' hex:cafe
printf 'several\nlines' | lsm put note -x

# That there is no such key is no failure of the store: the exit code tells the two apart.
code=0
lsm get plum 2>/dev/null || code=$?
case $code in
    3) echo 'plum: no such key' ;;
    *) echo "plum: exit code $code" >&2 && exit 1 ;;
esac

# Of several that try this, one succeeds: a lock that survives its holder.
if lsm put lock "$$" --if-absent 2>/dev/null; then echo 'lock: ours'; fi
if lsm put lock "$$" --if-absent 2>/dev/null; then exit 1; else echo 'lock: taken'; fi
lsm del lock --must-exist

# A copy by way of a file: in a pipe the shell would not see how the export ended. The last line of
# the file says how many items there are, and the import counts them.
lsm export --done-line >shop.ndjson
lsm import shop.ndjson --db copy
lsm export --done-line --db copy | cmp - shop.ndjson
echo "copied: $(lsm scan --count --db copy) items"

# Every byte of it is read back before the original may go.
lsm verify --db copy >/dev/null
rm -r shop
lsm get note --db copy
