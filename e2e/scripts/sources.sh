#!/usr/bin/env bash
# sources.sh restore|remember: lets a clean clone use what another clone of the same content has built.
#
# Cargo takes a source as changed when its file is newer than what was built of it, and in a new clone every
# file is. `remember` notes content and time of every file, and of every fingerprint in the target folder;
# `restore` gives files of the same content their times back, unless anything was built since by somebody else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
notes=${CARGO_TARGET_DIR:?run this through make}/sources
git rev-parse --git-dir >/dev/null 2>&1 || exit 0

built() {
  find "$CARGO_TARGET_DIR" -path "$CARGO_TARGET_DIR/next" -prune -o -path '*/.fingerprint/*' -type f -printf '%P %T@\n' 2>/dev/null |
    LC_ALL=C sort
}
files() { git ls-files -coz --exclude-standard; }

case $1 in
remember)
  mkdir -p "$notes"
  built >"$notes/built"
  # Lines of: digest, path, time.
  join -j 2 -o 1.1,0,2.1 <(files | xargs -0 sha256sum | LC_ALL=C sort -k 2) \
    <(files | xargs -0 stat -c '%.Y %n' | LC_ALL=C sort -k 2) >"$notes/files"
  ;;
restore)
  [ -s "$notes/files" ] && built | cmp -s - "$notes/built" || exit 0
  join -1 1 -2 1 -o 1.2,2.2,2.3 \
    <(files | xargs -0 sha256sum | awk '{print $1 ":" $2, $2}' | LC_ALL=C sort) \
    <(awk '{print $1 ":" $2, $2, $3}' "$notes/files" | LC_ALL=C sort) |
    while read -r path _ time; do touch --date="@$time" "$path"; done
  ;;
*) echo "usage: sources.sh restore|remember" >&2; exit 2 ;;
esac
