"""The quick functions give what torch's give."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.runs.quick_cpu import conv3d, normalize, quick_cpu


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kernel", [(1, 1, 1), (3, 1, 1), (3, 3, 3), (1, 3, 3)])
@pytest.mark.parametrize("padding", [0, 1, (0, 1, 1), (2, 0, 1)])
@pytest.mark.parametrize("clips", [1, 2])
def test_convolutions_agree(kernel, padding, clips):
    x, weight, bias = random(clips, 5, 6, 9, 8), random(4, 5, *kernel), random(4)
    # Sums of up to 135 products of float32 of size 1.
    torch.testing.assert_close(
        conv3d(x, weight, bias, 1, padding), F.conv3d(x, weight, bias, 1, padding), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("options", [{"stride": 2}, {"dilation": 2}, {"groups": 5}, {"padding": "same"}])
def test_other_convolutions_are_torch_s(options):
    x, weight = random(1, 5, 7, 9, 8), random(5, 1 if "groups" in options else 5, 3, 3, 3)
    assert torch.equal(conv3d(x, weight, None, **options), F.conv3d(x, weight, None, **options))


@pytest.mark.parametrize("dim", [1, -1])
def test_norms_agree(dim):
    x = random(2, 6, 3, 4)
    x[0] = 0
    torch.testing.assert_close(normalize(x, dim=dim), F.normalize(x, dim=dim))
    assert torch.equal(normalize(x, p=1.0, dim=dim), F.normalize(x, p=1.0, dim=dim))


def test_torch_s_own_functions_come_back_after_an_error():
    before = F.conv3d, F.normalize
    with pytest.raises(KeyError), quick_cpu():
        assert F.conv3d is conv3d
        raise KeyError
    assert (F.conv3d, F.normalize) == before
