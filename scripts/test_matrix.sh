#!/usr/bin/env bash
# Tries us with the models, weights, patches and samplers that people use, in a real ComfyUI, and writes what came of it
# to docs/compatibility.md. COMFYUI_DIR=/path (and FASTVMT_PYTHON) tries another ComfyUI: a column of its own.
# Arguments go to pytest; the page is renewed only where every row was run: bash scripts/test_matrix.sh -k samplers
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
cd "$ROOT"
"$PYTHON" -m pytest tests/matrix/matrix.py "$@"
"$PYTHON" -m tests.matrix.page
