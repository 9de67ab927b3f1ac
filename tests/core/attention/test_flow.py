"""Attention motion flow: the shift test, the global limit, gradients, and a token-by-token oracle."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings, target
from hypothesis import strategies as st

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig
from fastvmt_core.grid import TokenGrid

HEADS, D_HEAD = 3, 16
PEAK = 50.0
"""tau |q|^2 / sqrt(d) of the shifted clips: a token with itself; enough for a sharp match."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Products this small run faster alone than shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_qk(frames, height, width, heads=2, d_head=4, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, frames, height, width, heads, d_head)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).unbind()


def shifted_clip(frames, height, width, vector, seed=0):
    """q = k of a random pattern that moves by `vector` = (dx, dy) tokens a frame, around the borders."""
    generator = torch.Generator().manual_seed(seed)
    pattern = torch.randn(height, width, HEADS, D_HEAD, generator=generator)
    length = pattern.flatten(2).norm(dim=-1)[..., None, None]
    pattern = pattern / length * math.sqrt(PEAK * math.sqrt(D_HEAD) * HEADS)
    dx, dy = vector
    return torch.stack([pattern.roll((dy * frame, dx * frame), dims=(0, 1)) for frame in range(frames)])


def judged_tokens(height, width, move, tile):
    """(H, W) bool: own target and tile centre's target in the frame, 2 tokens or more from its border."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centre_y = (y // tile[0] * tile[0] + tile[0] // 2).clamp(max=height - 1)
    centre_x = (x // tile[1] * tile[1] + tile[1] // 2).clamp(max=width - 1)
    judged = torch.ones(height, width, dtype=torch.bool)
    for at_x, at_y in ((x + move[0], y + move[1]), (centre_x + move[0], centre_y + move[1])):
        judged &= (at_x >= 2) & (at_x < width - 2) & (at_y >= 2) & (at_y < height - 2)
    return judged


def shift_error(frames, height, width, vector, config, seed=0):
    """Worst error in tokens over all judged tokens and pairs, and the fewest tokens judged in one pair."""
    clip = shifted_clip(frames, height, width, vector, seed)
    flow = attention_motion_flow(clip, clip, config, window_keys=False)
    worst, fewest = 0.0, height * width
    for (i, j), displacement in zip(flow.pairs, flow.displacement, strict=True):
        move = torch.tensor(vector) * (j - i)
        judged = judged_tokens(height, width, move.tolist(), config.tile)
        fewest = min(fewest, int(judged.sum()))
        if judged.any():
            worst = max(worst, float((displacement - move)[judged].abs().max()))
    return worst, fewest


@st.composite
def shift_cases(draw):
    frames, span = draw(st.integers(2, 4)), draw(st.integers(2, 5))
    vector = draw(st.tuples(st.integers(-3, 3), st.integers(-3, 3)))
    tile = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    centre = draw(st.sampled_from(("self", "expectation", "argmax")))
    reach = max(map(abs, vector)) * (min(frames, span) - 1)
    least = 2 * max(tile) + 1 if centre != "self" else max(2 * max(tile) + 1, 2 * (reach + max(tile)))
    window = draw(st.one_of(st.none(), st.integers(least, least + 6)))
    height, width = (draw(st.integers(9 + abs(step) * (min(frames, span) - 1), 24)) for step in reversed(vector))
    config = AMFConfig(temporal_span=span, window=window, tile=tile, centre=centre)
    return frames, height, width, vector, config, draw(st.integers(0, 2**16))


@given(case=shift_cases())
@settings(max_examples=2 * settings().max_examples, suppress_health_check=list(HealthCheck))
def test_a_shifted_pattern_gives_its_shift(case):
    worst, fewest = shift_error(*case)
    assume(fewest >= 20)
    target(worst, label="worst error, tokens")
    assert worst <= 0.1


@pytest.mark.parametrize("centre", ["self", "expectation", "argmax"])
def test_two_tokens_a_frame_give_two_four_six(centre):
    config = AMFConfig(temporal_span=4, window=21, tile=(3, 4), centre=centre)
    clip = shifted_clip(4, 22, 31, (2, 0))
    flow = attention_motion_flow(clip, clip, config)
    for gap in (1, 2, 3):
        displacement = flow.displacement[flow.pairs.index((0, gap))]
        judged = judged_tokens(22, 31, (2 * gap, 0), config.tile)
        assert torch.allclose(displacement[judged], torch.tensor([2.0 * gap, 0.0]), atol=0.1)


def expected_by_token(q, k, config, centres):
    """The definition, one query at a time, in float64."""
    frames, height, width, heads, d_head = q.shape
    columns = -(-width // config.tile[1])
    size = [min(config.window or side, side) for side in (height, width)]
    flow = []
    pairs = [(i, j) for i in range(frames) for j in range(i, min(frames, i + config.temporal_span))]
    for pair, (i, j) in enumerate(pairs):
        l_h, l_w = (height, width) if i == j else size
        for y in range(height):
            for x in range(width):
                c_x, c_y = centres[pair, y // config.tile[0] * columns + x // config.tile[1]].tolist()
                left = 0 if i == j else min(max(math.floor(c_x + 0.5) - l_w // 2, 0), width - l_w)
                top = 0 if i == j else min(max(math.floor(c_y + 0.5) - l_h // 2, 0), height - l_h)
                logits = torch.zeros(l_h, l_w, dtype=torch.float64)
                for head in range(heads):
                    logits += (
                        k[j, top : top + l_h, left : left + l_w, head].double() @ q[i, y, x, head].double()
                    ) / heads
                weight = (logits * config.sharpness / math.sqrt(d_head)).flatten().softmax(0).reshape(l_h, l_w)
                mean_x = (weight.sum(0) * torch.arange(left, left + l_w)).sum()
                mean_y = (weight.sum(1) * torch.arange(top, top + l_h)).sum()
                flow.append((float(mean_x) - x, float(mean_y) - y))
    return torch.tensor(flow).reshape(len(pairs), height, width, 2)


@pytest.mark.parametrize("centre", ["self", "expectation", "argmax"])
@pytest.mark.parametrize(("height", "width"), [(5, 11), (11, 5)])
@pytest.mark.parametrize("window", [4, 5, None])
def test_agrees_with_the_definition_token_by_token(centre, height, width, window):
    q, k = random_qk(3, height, width)
    config = AMFConfig(temporal_span=2, window=window, tile=(2, 3), sharpness=3.0, centre=centre)
    flow = attention_motion_flow(q, k, config)
    assert torch.allclose(flow.displacement, expected_by_token(q, k, config, flow.centres), atol=1e-4)


def test_blocks_side_by_side_as_heads_are_averaged_alike():
    (q_a, k_a), (q_b, k_b) = (random_qk(2, 4, 5, seed=seed) for seed in (1, 2))
    config = AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    both = attention_motion_flow(torch.cat((q_a, q_b), -2), torch.cat((k_a, k_b), -2), config, window_keys=False)
    # Logits are scaled products, so their mean over two blocks is one product of the channels side by side over the
    # square root of 2 (which the longer d takes away already).
    q, k = torch.cat((q_a, q_b), -1), torch.cat((k_a, k_b), -1)
    mean = attention_motion_flow(q / 2**0.25, k / 2**0.25, config, window_keys=False)
    assert torch.allclose(both.displacement, mean.displacement, atol=1e-5)


@pytest.mark.parametrize("centre", ["expectation", "argmax"])
def test_centres_are_where_the_representative_query_attends(centre):
    q, k = random_qk(2, 7, 9)
    config = AMFConfig(temporal_span=2, window=3, tile=(3, 4), sharpness=2.0, centre=centre)
    flow = attention_motion_flow(q, k, config)
    logits = torch.einsum("nd,hwnd->hw", q[0, 4, 6], k[1]) * 2.0 / 2 / math.sqrt(4)
    best = torch.tensor([logits.argmax() % 9, logits.argmax() // 9]).float()
    weight = logits.flatten().softmax(0).reshape(7, 9)
    mean = torch.stack([(weight.sum(0) * torch.arange(9)).sum(), (weight.sum(1) * torch.arange(7)).sum()])
    expected = best if centre == "argmax" else mean
    assert torch.allclose(flow.centres[flow.pairs.index((0, 1)), 4], expected, atol=1e-5)
    assert flow.centres[flow.pairs.index((0, 0)), 4].tolist() == [6, 4]


def test_given_centres_replace_its_own():
    (q, k), (other_q, other_k) = random_qk(2, 8, 9, seed=1), random_qk(2, 8, 9, seed=2)
    config = AMFConfig(temporal_span=2, window=3, tile=(2, 2), sharpness=3.0, centre="argmax")
    reference = attention_motion_flow(other_q, other_k, config)
    own, shared = attention_motion_flow(q, k, config), attention_motion_flow(q, k, config, reference.centres)
    assert torch.equal(shared.centres, reference.centres)
    assert torch.allclose(shared.displacement, expected_by_token(q, k, config, reference.centres), atol=1e-4)
    assert not torch.allclose(shared.displacement, own.displacement, atol=0.1)


@given(
    frames=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    tile=st.tuples(st.integers(1, 10), st.integers(1, 10)),
    extra=st.integers(0, 3),
    centre=st.sampled_from(("self", "expectation", "argmax")),
)
def test_a_window_as_large_as_the_frame_is_the_global_map(frames, height, width, tile, extra, centre):
    q, k = random_qk(frames, height, width)
    windowed = AMFConfig(window=max(height, width) + extra, tile=tile, sharpness=2.0, centre=centre)
    everything = AMFConfig(window=None, tile=tile, sharpness=2.0)
    flow = attention_motion_flow(q, k, windowed)
    assert torch.equal(flow.displacement, attention_motion_flow(q, k, everything).displacement)
    assert flow.displacement.shape == (len(flow.pairs), height, width, 2)
    assert flow.grid == TokenGrid(frames, height, width)


def test_the_tile_does_not_change_the_global_map():
    q, k = random_qk(2, 6, 7)
    flows = [attention_motion_flow(q, k, AMFConfig(window=None, tile=tile)).displacement for tile in ((1, 1), (4, 3))]
    assert torch.allclose(*flows, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(2, 4), (4, 2)])
@pytest.mark.parametrize("window", [3, None])
@pytest.mark.parametrize("part", ["displacement", "window_keys"])
def test_gradcheck(part, window, height, width):
    q, k = (tensor.requires_grad_() for tensor in random_qk(2, height, width, d_head=1, dtype=torch.float64))
    config = AMFConfig(temporal_span=2, window=window, tile=(2, 2), sharpness=4.0)
    assert torch.autograd.gradcheck(lambda q, k: getattr(attention_motion_flow(q, k, config), part), (q, k))


def test_gradcheck_in_a_references_windows():
    q, k = (tensor.requires_grad_() for tensor in random_qk(2, 3, 4, d_head=1, dtype=torch.float64))
    config = AMFConfig(temporal_span=2, window=3, tile=(2, 2), sharpness=4.0, centre="argmax")
    centres = attention_motion_flow(*random_qk(2, 3, 4, d_head=1, seed=5), config).centres
    assert torch.autograd.gradcheck(lambda q, k: attention_motion_flow(q, k, config, centres).displacement, (q, k))


@pytest.mark.parametrize(("dtype", "close"), [(torch.float16, 0.02), (torch.bfloat16, 0.15)])
def test_half_precision_computes_in_float32(dtype, close):
    q, k = random_qk(3, 6, 8, dtype=dtype)
    config = AMFConfig(window=5, tile=(2, 2), sharpness=2.0)
    exact = attention_motion_flow(q.float(), k.float(), config)
    halves, floats = (
        [tensor.clone().to(kind).requires_grad_() for tensor in (q, k)] for kind in (dtype, torch.float32)
    )
    flow = attention_motion_flow(*halves, config)
    assert flow.displacement.dtype == flow.window_keys.dtype == torch.float32
    assert torch.equal(flow.displacement, exact.displacement)
    for inputs in (halves, floats):
        attention_motion_flow(*inputs, config).displacement.square().sum().backward()
    for half, full in zip(halves, floats, strict=True):
        assert half.grad.dtype == dtype
        assert torch.allclose(half.grad.float(), full.grad, atol=close * float(full.grad.abs().max()))


def test_autocast_does_not_lower_the_precision():
    q, k = random_qk(2, 6, 8)
    config = AMFConfig(window=5, tile=(2, 2), centre="expectation")
    exact = attention_motion_flow(q, k, config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = attention_motion_flow(q, k, config)
    assert torch.equal(cast.displacement, exact.displacement) and torch.equal(cast.window_keys, exact.window_keys)


def test_backward_keeps_no_attention():
    q, k = (tensor.requires_grad_() for tensor in random_qk(3, 8, 10))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        flow = attention_motion_flow(q, k, AMFConfig(window=5), window_keys=False)
    assert sum(tensor.numel() for tensor in kept) <= q.numel() + k.numel() + flow.displacement.numel()


def test_window_keys_are_the_windows_mean():
    q, k = random_qk(2, 6, 8)
    flow = attention_motion_flow(q, k, AMFConfig(temporal_span=2, window=3, tile=(3, 4)))
    pair = flow.pairs.index((0, 1))
    assert torch.allclose(flow.window_keys[pair, 0], k[1, 0:3, 1:4].mean((0, 1)).flatten(), atol=1e-6)
    assert torch.allclose(flow.window_keys[pair, 3], k[1, 3:6, 5:8].mean((0, 1)).flatten(), atol=1e-6)
    assert torch.allclose(flow.window_keys[0, 2], k[0].mean((0, 1)).flatten(), atol=1e-6)
    assert attention_motion_flow(q, k, AMFConfig(), window_keys=False).window_keys is None


def test_a_flow_moves_between_devices_with_its_centres_at_home():
    flow = attention_motion_flow(*random_qk(2, 4, 5), AMFConfig(window=3)).to("meta")
    assert flow.displacement.device.type == flow.window_keys.device.type == "meta"
    assert flow.centres.device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("centre", ["self", "argmax"])
def test_cuda_agrees_with_the_cpu(dtype, centre):
    config = AMFConfig(window=5, tile=(2, 3), sharpness=2.0, centre=centre)
    results = []
    for device in ("cpu", "cuda"):
        q, k = (tensor.to(device).requires_grad_() for tensor in random_qk(3, 9, 12, dtype=dtype))
        flow = attention_motion_flow(q, k, config)
        (flow.displacement.square().sum() + flow.window_keys.square().sum()).backward()
        results.append([part.detach().float().cpu() for part in (flow.displacement, q.grad, k.grad)])
    for on_cpu, on_gpu in zip(*results, strict=True):
        assert torch.allclose(on_cpu, on_gpu, rtol=0.02, atol=2e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k: (q[0], k[0], None), "q: expected"),
        (lambda q, k: (q[:0], k[:0], None), "q: expected"),
        (lambda q, k: (q, k[:1], None), "k: expected the shape"),
        (lambda q, k: (q, k.double(), None), "k: expected the dtype"),
        (lambda q, k: (q.long(), k.long(), None), "floating-point"),
        (lambda q, k: (q, k, torch.zeros(1, 1, 2)), "centres: expected shape"),
        (lambda q, k: (q, k, torch.full((3, 4, 2), torch.nan)), "centres: expected finite"),
    ],
)
def test_bad_input_is_named(change, message):
    q, k, centres = change(*random_qk(2, 4, 5))
    with pytest.raises(ValueError, match=message):
        attention_motion_flow(q, k, AMFConfig(window=3, tile=(2, 3)), centres)
