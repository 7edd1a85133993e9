#!/usr/bin/env bash
# openapi.sh GATEWAY CA APP KEY [OPTION...]: schemathesis calls the app API as its own OpenAPI document describes it,
# rightly and wrongly, and looks for answers that the document does not have.
#
# It comes from PyPI, once, in the versions that requirements.txt names.
set -euo pipefail
cd "$(dirname "$0")"
fail() { echo "payplane: $1" >&2; exit 2; }
cache=${PAYPLANE_CACHE:-$HOME/.cache/payplane}/openapi
python3 -c 'import ensurepip' 2>/dev/null || fail "python3 has no venv: apt-get install python3-venv"
env=$cache/$( { python3 --version; cat requirements.txt; } | sha256sum | cut -c1-16)
if [ ! -e "$env/made" ]; then
  rm -rf "$env"
  mkdir -p "$cache"
  echo "fetching schemathesis from PyPI" >&2
  python3 -m venv "$env"
  "$env/bin/pip" install --quiet --disable-pip-version-check --no-deps -r requirements.txt >"$cache/log" 2>&1 ||
    { tail -n 20 "$cache/log" >&2; fail "pip could not install what e2e/openapi/requirements.txt names"; }
  touch "$env/made"
fi
export APP=$3 APP_KEY=$4 SCHEMATHESIS_HOOKS=sign PYTHONPATH=$PWD PYTHONDONTWRITEBYTECODE=1
config=$PWD/schemathesis.toml
# It keeps notes where it runs; the clone stays as it is.
mkdir -p "$cache/run" && cd "$cache/run"
exec "$env/bin/schemathesis" --config-file "$config" --no-color run "$1/v1/openapi.json" --tls-verify "$2" \
  --checks all --max-examples 60 --seed 1 --request-timeout 30 "${@:5}"
