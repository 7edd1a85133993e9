#!/usr/bin/env bash
# Writes the product's images and those of the local cluster as OCI archives.
. "$(dirname "$0")/lib.sh"
mkdir -p "$IMAGES"
tag=build-$(cat "$BIN/payplane" "$BIN/payplane-operator" | sha256sum | head -c 12)
[ "$tag" = "$TAG" ] && exit 0
for name in payplane payplane-operator; do
  lab image product --binary "$BIN/$name" --name "localhost/$name:$tag" --out "$IMAGES/$name.tar"
done
echo "$tag" >"$IMAGES/tag"
