"""The peak of memory that the benchmarks at real sizes measure."""

import subprocess
import sys

from tools.host.layout import REPO

PEAK = """
import torch
from benchmarks.speed.measuring import Peak
device = "cuda" if torch.cuda.is_available() else "cpu"
peak, size = Peak(), 64 * 2**20
filled = torch.ones(size // 4, device=device)
del filled
before = peak.reset()
assert peak.read() - before < size / 2
filled = torch.ones(size // 4, device=device)
allocated = filled.numel() * 4
del filled
# The allocator may reuse pages that it already has.
assert 0.9 * allocated < peak.read() - before < 1.5 * allocated, (peak.read() - before, allocated)
"""


def test_the_peak_is_that_since_the_last_reset():
    """In a process of its own: one that has freed much memory before would reuse it."""
    done = subprocess.run([sys.executable, "-c", PEAK], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
