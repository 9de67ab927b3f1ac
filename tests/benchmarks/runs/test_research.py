"""Research rows do what they say, and leave the pack as it was."""

import importlib

import pytest
import torch
from einops import rearrange

import fastvmt_core.attention.flow
from benchmarks.runs.research import HOST_USERS, ROWS, patched, users_of
from benchmarks.runs.research import _neighbours as neighbours
from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig, LossWeights
from fastvmt_core.objectives.fastvmt import motion_loss


def pack(name):
    return importlib.import_module(name)


def tokens(seed, heads=2):
    return torch.randn(3, 8, 8, heads, 6, generator=torch.Generator().manual_seed(seed))


CONFIG = AMFConfig(temporal_span=3, window=5, tile=(2, 2), sharpness=3.0, centre="expectation")


def test_a_row_is_in_place_inside_the_block_alone():
    # A local name: this module's own is replaced too, as every module's that uses the function.
    original = fastvmt_core.attention.flow.attention_motion_flow
    with pytest.raises(KeyError), patched(ROWS["head_averaged"], pack, required=()):
        assert fastvmt_core.attention.flow.attention_motion_flow is not original
        raise KeyError
    assert fastvmt_core.attention.flow.attention_motion_flow is original
    with patched(None, pack):
        assert fastvmt_core.attention.flow.attention_motion_flow is original


def test_windows_are_around_the_own_centres_and_the_flow_has_the_reference_s():
    q, k = tokens(0), tokens(1)
    own = attention_motion_flow(q, k, CONFIG)
    given = own.centres.flip(1)
    flow = ROWS["own_centres"](pack)(q, k, CONFIG, given)
    assert torch.equal(flow.displacement, own.displacement)
    assert torch.equal(flow.centres, given)
    assert not torch.equal(attention_motion_flow(q, k, CONFIG, given).displacement, own.displacement)


def test_the_released_displacement_loses_the_place_of_the_window():
    """A sharp pattern that moves 1 token a frame: ours measures 1 and 2, the released one the same for both."""
    generator = torch.Generator().manual_seed(0)
    pattern = torch.nn.functional.normalize(torch.randn(16, 16, 1, 32, generator=generator), dim=-1) * 30
    frames = torch.stack([pattern.roll(2 * frame, dims=1) for frame in range(3)])
    config = AMFConfig(temporal_span=3, window=5, tile=(2, 2), centre="argmax")
    ours, released = (
        flow(frames, frames, config) for flow in (attention_motion_flow, ROWS["released_displacement"](pack))
    )
    inner = (slice(4, 12), slice(4, 10))
    between = [ours.pairs.index(pair) for pair in ((0, 1), (0, 2))]
    moved = [ours.displacement[index][inner].mean((0, 1)) for index in between]
    torch.testing.assert_close(torch.stack(moved), torch.tensor([[2.0, 0.0], [4.0, 0.0]]), atol=0.05, rtol=0)
    measured = [released.displacement[index][inner].mean((0, 1)) for index in between]
    torch.testing.assert_close(measured[0], measured[1], atol=0.05, rtol=0)
    same = ours.pairs.index((1, 1))
    assert torch.equal(released.displacement[same], ours.displacement[same])


def test_heads_that_agree_may_be_averaged_first():
    q, k = (tokens(seed, 1).expand(-1, -1, -1, 4, -1).contiguous() for seed in (0, 1))
    found = ROWS["head_averaged"](pack)(q, k, CONFIG)
    torch.testing.assert_close(found.displacement, attention_motion_flow(q, k, CONFIG).displacement)
    mixed = ROWS["head_averaged"](pack)(tokens(0), tokens(1), CONFIG)
    assert not torch.allclose(mixed.displacement, attention_motion_flow(tokens(0), tokens(1), CONFIG).displacement)


def test_neighbours_are_averaged_and_share_out_their_heads():
    found = rearrange(neighbours(tokens(0)), "f h w 1 d -> (f h w) d")
    flat = rearrange(tokens(0), "f h w n d -> (f h w) n d")
    torch.testing.assert_close(found[6], flat[6:8, 0].mean(0))
    torch.testing.assert_close(found[7], flat[6:8, 1].mean(0))
    with pytest.raises(ValueError, match="that 5 heads divide"):
        neighbours(torch.zeros(1, 3, 3, 5, 2))


def test_the_released_flow_has_a_loss_and_a_gradient():
    flow = ROWS["released_flow"](pack)
    reference = flow(tokens(0), tokens(1), CONFIG)
    assert reference.displacement.shape == (6, 8, 8, 2)
    # A place in the window (0 .. 4) less one in the tile (0 .. 1), and absolute for a frame with itself.
    between = [index for index, (i, j) in enumerate(reference.pairs) if i != j]
    assert -1 <= reference.displacement[between].min() <= reference.displacement[between].max() <= 4
    own = [index for index, (i, j) in enumerate(reference.pairs) if i == j]
    assert reference.displacement[own].abs().max() > 1.5
    q, k = (tokens(seed).requires_grad_() for seed in (2, 3))
    generated = flow(q, k, CONFIG, reference.centres)
    loss = motion_loss(reference, generated, LossWeights(released_scale=True))
    assert loss.consistency > 0
    loss.total.backward()
    assert all(tensor.grad.abs().sum() > 0 for tensor in (q, k))
    alike = flow(tokens(0), tokens(1), CONFIG, reference.centres)
    assert float(motion_loss(reference, alike, LossWeights(released_scale=True)).amf) == 0


def test_the_released_flow_needs_an_odd_window_that_fits():
    with pytest.raises(ValueError, match="window: expected an odd number up to the frame's 8, got 21"):
        ROWS["released_flow"](pack)(tokens(0), tokens(1), AMFConfig(window=21))


def test_a_row_that_misses_the_host_is_an_error():
    with pytest.raises(RuntimeError, match=r"expected users of attention_motion_flow in nodes\.host\.elsewhere"):
        with patched(ROWS["head_averaged"], pack, required=("nodes.host.elsewhere",)):
            pass


def test_the_host_s_modules_are_patched(host_pack):
    """The pack as ComfyUI loads it: reading (method) and sampling (fastvmt) compute flows by the row's function."""
    original = host_pack("fastvmt_core.attention.flow").attention_motion_flow
    modules = [host_pack(name) for name in ("fastvmt_core.objectives.method", "fastvmt_core.objectives.fastvmt")]
    with patched(ROWS["head_averaged"], host_pack):
        assert all(module.attention_motion_flow is not original for module in modules)
    assert all(module.attention_motion_flow is original for module in modules)
    assert all(any(name.startswith(package) for name in users_of(original)) for package in HOST_USERS)
