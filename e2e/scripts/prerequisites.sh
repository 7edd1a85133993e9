#!/usr/bin/env bash
# Says clearly what is missing before anything starts; installs what Debian has.
set -euo pipefail
fail() { echo "payplane: $1" >&2; exit 1; }

[ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] || fail "the local cluster needs Linux on x86_64; this is $(uname -s) on $(uname -m)"
command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or newer (rustup.rs), then run make again"
command -v go >/dev/null || fail "go is missing: install Go 1.26.4 or newer (go.dev/dl), then run make again"
older() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" != "$2" ]; }
rust=$(cargo --version | awk '{print $2}')
older "$rust" 1.95.0 && fail "cargo $rust is too old: Rust 1.95 or newer is needed (rustup update)"
go=$(go env GOVERSION | sed 's/^go//')
older "$go" 1.26.4 && fail "go $go is too old: Go 1.26.4 or newer is needed"
[ -e /dev/fuse ] || fail "/dev/fuse is missing: the tests of power cuts need it (modprobe fuse)"

missing=()
for package in gcc libc6-dev containerd runc containernetworking-plugins nftables iptables iproute2 conntrack postgresql-15 postgresql-client-15 \
  python3 openssl curl; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
# `prerequisites.sh tests`: any JDK and Maven will do (e2e/oracle).
if [ "${1:-}" = tests ]; then
  command -v javac >/dev/null || missing+=(openjdk-17-jdk-headless)
  command -v mvn >/dev/null || missing+=(maven)
  # e2e/openapi makes an environment of its own.
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
fi
[ ${#missing[@]} -eq 0 ] && exit 0
[ "$(id -u)" = 0 ] || fail "Debian packages are missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}"
command -v apt-get >/dev/null || fail "Debian packages are missing and there is no apt-get: ${missing[*]}"
echo "payplane: installing ${missing[*]}"
log=$(mktemp)
# No service may start by itself: the local cluster runs its own containerd, the tests their own PostgreSQL.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; made=1; fi
trap '[ -n "$made" ] && rm -f $policy; rm -f "$log"' EXIT
{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
  { tail -n 20 "$log" >&2; fail "apt-get could not install: ${missing[*]}"; }
