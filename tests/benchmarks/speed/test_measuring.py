"""The peak of memory that the benchmarks at real sizes measure."""

import torch

from benchmarks.speed.measuring import Peak

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def test_the_peak_is_that_since_the_last_reset():
    peak, size = Peak(), 64 * 2**20
    filled = torch.ones(size // 4, device=DEVICE)
    del filled
    before = peak.reset()
    assert peak.read() - before < size / 2
    filled = torch.ones(size // 4, device=DEVICE)
    allocated = filled.numel() * 4
    del filled
    # The allocator may reuse pages that it already has.
    assert 0.9 * allocated < peak.read() - before < 1.5 * allocated
