#!/usr/bin/env bash
# On a machine with an NVIDIA card: guided steps and whole videos at real shapes, random weights, no server and no page;
# renews benchmarks/speed/RESULTS.md. FASTVMT_RELEASED=/path/to/checkout runs the released code beside ours. Made for 80 GB; a
# guided step that does not fit is reported as out of memory. Arguments go to both benchmarks, so that options which
# both know will do: bash scripts/bench_gpu.sh --size 480x832x33
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
cd "$ROOT"
if ! "$PYTHON" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())'; then
  echo "fastvmt: PyTorch finds no card on this machine; python -m benchmarks.speed.guidance --preset cpu needs none" >&2
  exit 1
fi
failed=0
for preset in wan1.3b wan14b wan2.2-5b; do
  "$PYTHON" -m benchmarks.speed.guidance --preset "$preset" --size 480x832x81 --compile \
    --json "benchmarks/results/guidance_$preset.json" "$@" || failed=1
  "$PYTHON" -m benchmarks.speed.video --preset "$preset" --size 480x832x81 \
    --json "benchmarks/results/video_$preset.json" "$@" || failed=1
done
"$PYTHON" -m benchmarks.speed.results_page
exit "$failed"
