#!/usr/bin/env bash
# Transfers the motion of a clip to a new one, in a real ComfyUI on this machine; makes everything ready first.
# bash scripts/demo.sh --serve    (opens ComfyUI with the demo's workflow instead, and prints its address)
# bash scripts/demo.sh [--reference VIDEO] [--prompt "blue square plain"] [--seed N] [--out FOLDER]
set -euo pipefail
export FASTVMT_STARTED="$EPOCHSECONDS"
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
PYTHONPATH="$ROOT" exec "$PYTHON" -m tools.demo.run "$@"
