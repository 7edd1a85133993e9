#!/usr/bin/env bash
# sources.sh restore|remember: lets a clean clone use what another clone of the same content has built.
#
# Cargo takes a source as changed when its file is newer than what was built of it, and in a new clone every
# file is. `remember` notes content and time of every file, and the fingerprints in the target folder; `restore`
# gives files of the same content their times back, unless anything was built since. What another clone built of
# other content must not pass for this one's either, so such files become new.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
notes=${CARGO_TARGET_DIR:?run this through make}/sources
git rev-parse --git-dir >/dev/null 2>&1 || exit 0

built() {
  find "$CARGO_TARGET_DIR" \( -path "$CARGO_TARGET_DIR/next" -o -path "$CARGO_TARGET_DIR/plants" \) -prune -o -path '*/.fingerprint/*' -type f -printf '%P %T@\n' 2>/dev/null |
    LC_ALL=C sort
}
files() { git ls-files -coz --exclude-standard; }
digests() { files | xargs -0 sha256sum 2>/dev/null | LC_ALL=C sort -k 2; }

case $1 in
remember)
  mkdir -p "$notes"
  built >"$notes/built"
  # Digest first: who edits a file meanwhile makes it look changed, never unchanged.
  digests >"$notes/digests"
  LC_ALL=C join -j 2 -o 1.1,0,2.1 "$notes/digests" \
    <(files | xargs -0 stat -c '%.Y %n' 2>/dev/null | LC_ALL=C sort -k 2) >"$notes/files"
  pwd >"$notes/clone"
  ;;
restore)
  [ -s "$notes/files" ] || exit 0
  here=$([ "$(pwd)" = "$(cat "$notes/clone")" ] && echo yes || true)
  if built | cmp -s - "$notes/built"; then known=$notes/files; else known=/dev/null; fi
  [ "$known" = /dev/null ] && [ -n "$here" ] && exit 0
  awk -v here="$here" -v known="$known" 'FILENAME == known { time[$1 " " $2] = $3; next }
    ($1 " " $2) in time { print "@" time[$1 " " $2], $2; next }
    !here { print "now", $2 }' "$known" <(digests) |
    while read -r time path; do touch --date="$time" "$path"; done
  ;;
*) echo "usage: sources.sh restore|remember" >&2; exit 2 ;;
esac
