#!/usr/bin/env bash
# Lints the code and runs the tests, those on the real ComfyUI too; makes everything ready first. Two tests run at a time.
# Arguments go to pytest: bash scripts/test.sh tests/core -k windows; -m "" adds the slow tests, which .ci/run runs
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
cd "$ROOT"

# The browser tests need a Chromium. Installed where that is ours to do; never needed to use the nodes.
has_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! has_chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "fastvmt: installing Chromium for the browser tests"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-dejavu-core; } \
    >"$ROOT/.host/apt.log" 2>&1 || echo "fastvmt: that failed; see .host/apt.log" >&2
fi
skipped=""
has_chromium >/dev/null || skipped="there is no Chromium on this machine: sudo apt-get install chromium"
"$PYTHON" -c "import playwright" 2>/dev/null || skipped="Playwright is missing in $PYTHON: pip install playwright"
warn_of_skipped() {
  [ -z "$skipped" ] || printf '\n*** BROWSER TESTS WERE NOT RUN: %s ***\n\n' "$skipped" >&2
}
trap warn_of_skipped EXIT

# One thread in each of two processes is quicker than two threads in one. A Python of yours may lack pytest-xdist.
export OMP_NUM_THREADS=1
workers=()
if "$PYTHON" -c "import xdist" 2>/dev/null; then
  workers=(-n 2 --dist loadscope --no-loadscope-reorder)
fi
"$PYTHON" -m ruff check .
"$PYTHON" -m pytest ${workers[@]+"${workers[@]}"} -m "not slow" --durations=15 "$@"
