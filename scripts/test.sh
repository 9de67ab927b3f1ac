#!/usr/bin/env bash
# Lints the code and runs all tests, those on the real ComfyUI too; makes everything ready first.
# Arguments go to pytest: bash scripts/test.sh tests/core -k windows
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
cd "$ROOT"
"$PYTHON" -m ruff check .
"$PYTHON" -m pytest "$@"
