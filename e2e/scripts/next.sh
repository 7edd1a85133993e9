#!/usr/bin/env bash
# Builds the release after this one, for the upgrade suite: the tree plus e2e/upgrade/next.patch, with one more
# config field and one more migration. Dependencies are taken over from this build by hard links.
. "$(dirname "$0")/lib.sh"
next=$CARGO_TARGET_DIR/next
mkdir -p "$next/images"
rm -rf "$next/tree"
mkdir "$next/tree"
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T - | tar -xf - -C "$next/tree"
patch -s -p1 -d "$next/tree" <e2e/upgrade/next.patch
source=$(cd "$next/tree" && find components crds operator Cargo.toml Cargo.lock -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | head -c 12)
# A folder of an earlier script, which still shares what cargo writes in place, is made anew.
if [ -n "$(find "$next/target" -path '*/.fingerprint/*' -type f -links +1 -print -quit 2>/dev/null)" ]; then
  rm -rf "$next/target"
fi
if [ "$source" != "$(cat "$next/source" 2>/dev/null || true)" ]; then
  if [ ! -d "$next/target" ]; then
    mkdir "$next/target"
    cp -al "$CARGO_TARGET_DIR/release" "$next/target/release"
    cp -al "$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu" "$next/target/x86_64-unknown-linux-gnu"
    rm -rf "$next/target"/*/incremental "$next/target"/*/*/incremental
    # cargo writes these in place: shared, they would say of this build what is true of the next.
    for prints in release/.fingerprint x86_64-unknown-linux-gnu/release/.fingerprint; do
      rm -rf "$next/target/$prints"
      cp -a "$CARGO_TARGET_DIR/$prints" "$next/target/$prints"
    done
  fi
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
