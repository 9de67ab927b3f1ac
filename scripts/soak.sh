#!/usr/bin/env bash
# What takes hours: 200 guided runs in one server (benchmarks/results/soak.jsonl, one line a run; docs/images/soak.svg),
# then 20,000 draws of nodes, 300 random graphs, and memory that ends at each of the first 200 allocations.
# Started again, the guided runs go on where they stopped; a new soak begins once soak.jsonl is deleted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_host.sh"
cd "$ROOT"
export OMP_NUM_THREADS=1
"$PYTHON" -m benchmarks.soak.run "$@"
export HYPOTHESIS_PROFILE=soak
"$PYTHON" -m pytest tests/host/test_node_draws.py
"$PYTHON" -m pytest tests/server/test_random_graphs.py tests/host/sampling/test_faults.py
