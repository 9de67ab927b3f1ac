"""The counted model: against the figures it was designed from, PyTorch's own counter, and recorded runs."""

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.guidance import counted
from benchmarks.speed.model import (
    Rates,
    Shape,
    Work,
    block_backward,
    block_forward,
    flow,
    gradient,
    our_step,
    plain_step,
    released_step,
)
from benchmarks.speed.results_page import MOST_ERROR, RESULTS, WAN, errors, floor
from tools.host.made_models import use_comfyui

RECORDED = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("guidance_cpu*.json")}
SMALL = Shape(dim=256, ffn_dim=512, depth=2, grid=(2, 4, 6), text=32, bytes_per_value=4)


def test_wan_s_forward_is_the_known_one():
    assert WAN.tokens == 32760
    assert WAN.block / 1e12 == pytest.approx(9.4, abs=0.05)
    assert WAN.attention / 1e12 == pytest.approx(6.6, abs=0.05)
    assert (WAN.block - WAN.attention) / 1e12 == pytest.approx(2.8, abs=0.05)
    assert plain_step(WAN, 1).tflop == pytest.approx(283, abs=0.5)
    assert 50 * plain_step(WAN).tflop == pytest.approx(28_300, rel=0.01)


def test_wan_s_gradients_are_the_known_ones():
    # The known figures take the attention to the prompt's backward as once its forward, and leave the flow out.
    kept, checkpointed = gradient(WAN, 14, 14), gradient(WAN, 20, 20, 20)
    assert kept.tflop == pytest.approx(400, rel=0.02)
    assert checkpointed.tflop == pytest.approx(760, rel=0.02)
    assert 4 * kept.tflop == pytest.approx(1600, rel=0.02)
    assert 4 * kept.tflop + 14 * WAN.block / 1e12 == pytest.approx(1740, rel=0.02)
    assert 4 * checkpointed.tflop + 20 * WAN.block / 1e12 == pytest.approx(3240, rel=0.02)


def test_ours_is_at_most_the_asked_share_of_what_the_released_code_does():
    assert our_step(WAN, 14, 4).tflop / released_step(WAN, 14, 20, 4).tflop <= 0.55


def test_the_page_s_floor_has_a_figure_for_each_line():
    assert all(value > 0 for value in floor().values())


@pytest.fixture(scope="module")
def network():
    use_comfyui()
    import comfy.ldm.wan.model as wan

    sizes = {"dim": SMALL.dim, "ffn_dim": SMALL.ffn_dim, "num_heads": 2, "num_layers": SMALL.depth}
    made = wan.WanModel(model_type="t2v", in_dim=16, out_dim=16, **sizes, operations=torch.nn)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return made.requires_grad_(False)


def test_a_block_s_products_are_those_that_pytorch_counts(network):
    """Forward, and backward to the tokens. Plain attention's backward is twice its forward, and once where keys and
    values, here the prompt's, have no gradient; a fused kernel computes them all."""
    tokens = torch.randn(1, SMALL.tokens, SMALL.dim, requires_grad=True)
    context, vec = torch.randn(1, SMALL.text, SMALL.dim), torch.randn(1, 6, SMALL.dim)
    frequencies = network.rope_encode(SMALL.grid[0], 2 * SMALL.grid[1], 2 * SMALL.grid[2], dtype=torch.float32)
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            out = network.blocks[0](tokens, e=vec, freqs=frequencies, context=context)
        with FlopCounterMode(display=False) as backward:
            out.sum().backward()
    plain = block_backward(SMALL).products + 2 * SMALL.attention + SMALL.cross_attention
    assert forward.get_total_flops() == pytest.approx(SMALL.block, rel=0.01)
    assert backward.get_total_flops() == pytest.approx(plain, rel=0.01)


def test_work_adds_up_and_takes_time():
    work = Work(2.0, 3.0, 5.0, 7.0) + Work(1.0, 1.0, 1.0, 1.0) * 2
    assert work == Work(4.0, 5.0, 7.0, 9.0)
    assert work.seconds(Rates(2.0, 5.0, 7.0, 9.0)) == pytest.approx(2 + 1 + 1 + 1)


def test_recomputing_costs_time():
    assert our_step(WAN, 14, 4, 14).tflop > our_step(WAN, 14, 4).tflop


def test_a_flow_within_windows_costs_less_than_one_over_the_frame():
    assert flow(WAN).products < flow(WAN, window=None).products
    assert flow(WAN).tflop < 0.01 * gradient(WAN, 14, 14).tflop


def test_attention_dominates_long_clips():
    long = Shape(**{**vars(WAN), "grid": (41, 30, 52)})
    assert long.attention / long.block > WAN.attention / WAN.block
    assert block_forward(long).attention == pytest.approx(long.attention, rel=0.02)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_runs_are_foreseen(name):
    """Seconds of every row, counted anew, and memory of ours, within 25 % of the measured ones."""
    report = counted(RECORDED[name])
    assert report == RECORDED[name]
    for row in report["rows"].values():
        assert max(errors(row)) <= MOST_ERROR
