#!/usr/bin/env bash
# oracle.sh TRAFFIC KEYS: judges a record of traffic with the networks' kits; src/Oracle.java says what it prints.
#
# The kits come from Maven Central, once. Their versions stand in pom.xml, the digests of their bytes and of all
# that they need in libraries.sha256: nothing else gets on the class path.
set -euo pipefail
cd "$(dirname "$0")"
fail() { echo "payplane: $1" >&2; exit 2; }
cache=${PAYPLANE_CACHE:-$HOME/.cache/payplane}/oracle
for program in java javac mvn; do
  command -v "$program" >/dev/null ||
    fail "$program is missing: our signatures are checked with a JDK (17 or newer) and Maven; apt-get install openjdk-17-jdk-headless maven"
done
java=$(javac -version 2>&1 | sed -E 's/^javac ([0-9]+).*/\1/')
[ "$java" -ge 17 ] || fail "javac $java is too old: 17 or newer is needed"

digest() { cat "$@" | sha256sum | cut -c1-16; }
libraries=$cache/lib-$(digest pom.xml libraries.sha256)
classes=$cache/classes-$(digest pom.xml libraries.sha256 src/*.java)

# fetch FOLDER
fetch() {
  echo "fetching the payment networks' kits from Maven Central" >&2
  mvn --batch-mode --quiet --strict-checksums --file pom.xml -Dmaven.repo.local="$cache/repository" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$1" >"$cache/log" 2>&1 ||
    { tail -n 20 "$cache/log" >&2; fail "Maven could not fetch what e2e/oracle/pom.xml names"; }
  diff <(cd "$1" && sha256sum -- *) libraries.sha256 >&2 ||
    fail "the kits are not those that e2e/oracle/libraries.sha256 pins"
  rm -rf "${cache:?}/repository"
}

# made FOLDER COMMAND...: makes a folder whole or not at all.
made() {
  [ -d "$1" ] && return
  rm -rf "$cache/half"
  "${@:2}" "$cache/half"
  mv "$cache/half" "$1"
}

compile() { javac -Xlint:all -Werror -d "$1" -cp "$libraries/*" src/*.java >&2; }

mkdir -p "$cache"
(
  flock 9
  made "$libraries" fetch
  made "$classes" compile
) 9>"$cache/lock"
exec java -cp "$classes:$libraries/*" Oracle "$1" "$2"
