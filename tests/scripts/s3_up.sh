#!/usr/bin/env bash
# Starts an S3-compatible server for the tests and prints what to export:
#
#   eval "$(tests/scripts/s3_up.sh)" && cargo test -p udr-tests
#
# Safe to run again: a server that answers is kept. Installs moto into a virtual environment unless
# some Python on the path has it. `s3_up.sh stop` ends the server that this script started.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
port=${UDR_TEST_S3_PORT:-5123}
work=${UDR_TEST_S3_DIR:-${TMPDIR:-/tmp}/udr-test-s3-$(id -u)}
endpoint=http://127.0.0.1:$port
bucket=udr-test
mkdir -p "$work"

answers() { curl -fsS -o /dev/null --max-time 5 "$endpoint/$bucket?list-type=2&max-keys=1" 2>/dev/null; }

if [ "${1:-}" = stop ]; then
  if [ -f "$work/pid" ]; then kill "$(cat "$work/pid")" 2>/dev/null || true; rm -f "$work/pid"; fi
  exit 0
fi

if ! answers; then
  python=
  for candidate in "$work/venv/bin/python" python3; do
    if "$candidate" -c 'import moto.server, flask' 2>/dev/null; then python=$candidate; break; fi
  done
  if [ -z "$python" ]; then
    echo "installing moto into $work/venv" >&2
    python3 -m venv "$work/venv" >&2
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[s3,server]>=5.2,<6' >&2
    python=$work/venv/bin/python
  fi
  nohup "$python" "$here/s3_server.py" "$port" >"$work/log" 2>&1 </dev/null &
  echo $! >"$work/pid"
  for _ in $(seq 120); do
    curl -fsS -o /dev/null --max-time 5 -X PUT "$endpoint/$bucket" 2>/dev/null && break
    kill -0 "$(cat "$work/pid")" 2>/dev/null || break
    sleep 0.5
  done
  answers || { echo "the S3 server did not start; its log ends:" >&2; tail -20 "$work/log" >&2; exit 1; }
fi

echo "export UDR_TEST_S3_ENDPOINT=$endpoint UDR_TEST_S3_BUCKET=$bucket UDR_TEST_S3_KEY=test UDR_TEST_S3_SECRET=testtest"
