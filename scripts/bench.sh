#!/usr/bin/env bash
# Measures motion transfer with the tiny model, in a ComfyUI in this process; makes everything ready first.
# bash scripts/bench.sh --json OUT [--references N] [--seeds N] [--sweep NAME=V1,V2] [--check R]; --help tells more
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
cd "$ROOT"
exec "$PYTHON" -m benchmarks.quality.motion "$@"
