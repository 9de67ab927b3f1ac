#!/usr/bin/env bash
# Tries us with the models, weights, patches and samplers that people use, in a real ComfyUI, and writes what came of it
# to docs/compatibility.md. COMFYUI_DIR=/path (and FASTVMT_PYTHON) tries another ComfyUI: a column of its own.
# Other people's packs are used where .host/packs (or FASTVMT_PACKS) has them; else nodes of ours stand in for them.
# Arguments go to pytest; the page's other rows then stay as they are: bash scripts/test_matrix.sh -k samplers
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
cd "$ROOT"
# A server for each of two workers; on a card there is room for one.
workers=()
if "$PYTHON" -c "import sys, torch, xdist; sys.exit(torch.cuda.is_available())" 2>/dev/null; then
  export OMP_NUM_THREADS=1
  workers=(-n 2)
fi
"$PYTHON" -m pytest tests/matrix/matrix.py ${workers[@]+"${workers[@]}"} "$@"
"$PYTHON" -m tests.matrix.page
