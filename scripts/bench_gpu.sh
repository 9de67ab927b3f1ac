#!/usr/bin/env bash
# On a machine with an NVIDIA card: guided steps and whole videos at real shapes, random weights, no server and no page;
# renews benchmarks/speed/RESULTS.md. FASTVMT_RELEASED=/path/to/checkout runs the released code beside ours. Made for 80 GB; a
# guided step that does not fit is reported as out of memory. Arguments go to both benchmarks, so that options which
# both know will do: bash scripts/bench_gpu.sh --size 480x832x33
# With --matrix instead: what people combine the pack with, the rows that need a card first, in under ten minutes. Needs no
# large card. Further arguments go to pytest, and COMFYUI_DIR, FASTVMT_PYTHON and FASTVMT_PACKS as in test_matrix.sh; the last
# line names the one file to send back.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
cd "$ROOT"
if ! "$PYTHON" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())'; then
  echo "fastvmt: PyTorch finds no card on this machine; without one: bash scripts/test_matrix.sh," \
    "and python -m benchmarks.speed.guidance --preset cpu" >&2
  exit 1
fi
failed=0
if [ "${1:-}" = --matrix ]; then
  shift
  "$PYTHON" -m pytest tests/matrix/gpu.py tests/matrix/matrix.py --minutes 9 "$@" || failed=1
  "$PYTHON" -m tests.matrix.page
  echo "fastvmt: the report: $(ls -t benchmarks/results/matrix/*-cuda.json | head -n 1)"
  exit "$failed"
fi
for preset in wan1.3b wan14b wan2.2-5b; do
  "$PYTHON" -m benchmarks.speed.guidance --preset "$preset" --size 480x832x81 --compile \
    --json "benchmarks/results/guidance_$preset.json" "$@" || failed=1
  "$PYTHON" -m benchmarks.speed.video --preset "$preset" --size 480x832x81 \
    --json "benchmarks/results/video_$preset.json" "$@" || failed=1
done
"$PYTHON" -m benchmarks.speed.results_page
exit "$failed"
