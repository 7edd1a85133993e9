#!/usr/bin/env bash
# Builds the release after this one, for the upgrade suite: the tree plus e2e/upgrade/next.patch, with one more
# config field and one more migration. Dependencies are taken over from this build by hard links.
. "$(dirname "$0")/lib.sh"
next=$CARGO_TARGET_DIR/next
mkdir -p "$next/images"
copy_tree "$next/tree"
patch -s -p1 -d "$next/tree" <e2e/upgrade/next.patch
source=$(cd "$next/tree" && find components crds operator Cargo.toml Cargo.lock -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | head -c 12)
if [ "$source" != "$(cat "$next/source" 2>/dev/null || true)" ]; then
  take_over_build "$next/target"
  (cd "$next/tree" && CARGO_TARGET_DIR=$next/target cargo build --release --locked --workspace --bins)
  built=$next/target/x86_64-unknown-linux-gnu/release
  tag=next-$(cat "$built/payplane" "$built/payplane-operator" | sha256sum | head -c 12)
  for name in payplane payplane-operator; do
    lab image product --binary "$built/$name" --name "localhost/$name:$tag" --out "$next/images/$name.tar"
  done
  echo "$tag" >"$next/images/tag"
  echo "$source" >"$next/source"
fi
cat "$next/images/tag"
