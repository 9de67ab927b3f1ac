#!/usr/bin/env bash
# On a machine with an NVIDIA card: the whole matrix on it, the rows that need one (low-VRAM flags, fp8 matrix
# multiplication, SageAttention, dynamic VRAM). Renews docs/compatibility.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
cd "$ROOT"
if ! "$PYTHON" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())'; then
  echo "fastvmt: PyTorch finds no card on this machine; scripts/test_matrix.sh needs none" >&2
  exit 1
fi
"$PYTHON" -m pytest tests/matrix/matrix.py tests/matrix/gpu.py "$@"
"$PYTHON" -m tests.matrix.page
