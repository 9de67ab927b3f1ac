"""The two losses against numbers worked out by hand, and what must not be compared."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fastvmt_core.attention.flow import AttentionMotionFlow, attention_motion_flow
from fastvmt_core.attention.windows import frame_pairs
from fastvmt_core.config import AMFConfig, LossWeights
from fastvmt_core.grid import TokenGrid
from fastvmt_core.objectives.fastvmt import FastVMT, motion_loss
from fastvmt_core.objectives.protocol import Signals
from tests.core.motion.made_motions import made

AMF_ONLY = LossWeights(amf=1, consistency=0)
CONSISTENCY_ONLY = LossWeights(amf=0, consistency=1)


def flow_of(displacement, frames, span, window_keys=None):
    pairs = frame_pairs(frames, span)
    return AttentionMotionFlow(pairs, displacement, torch.zeros(len(pairs), 1, 2), window_keys, temporal_span=span)


def still(frames, span, height=1, width=2):
    return flow_of(torch.zeros(len(frame_pairs(frames, span)), height, width, 2), frames, span)


def random_qk(seed=0, shape=(3, 4, 5, 2, 3), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((2, *shape), generator=generator, dtype=dtype).unbind()


def test_amf_loss_by_hand():
    reference = still(frames=3, span=3)
    moved = reference.displacement.clone()
    moved[0] = torch.tensor([3.0, 4.0])
    moved[1, 0, 0] = torch.tensor([1.0, 2.0])
    moved[2, 0, 1] = torch.tensor([0.0, 2.0])
    generated = replace(reference, displacement=moved)
    weights = LossWeights(amf=2, consistency=0, distance_decay=0.2, self_pairs=0.5)
    # Pairs (0,0) 25, (0,1) 5/2, (0,2) 4/2 and three zeros; w is .5, 1 and 1 - .2 / 2.
    expected = (0.5 * 25 + 1 * 2.5 + 0.9 * 2) / 6
    loss = motion_loss(reference, generated, weights)
    assert math.isclose(float(loss.amf), expected, rel_tol=1e-6)
    assert math.isclose(float(loss.total), 2 * expected, rel_tol=1e-6)
    assert float(loss.consistency) == 0


def test_decay_follows_the_settings_span_in_a_short_clip():
    reference = still(frames=3, span=4)
    moved = reference.displacement.clone()
    moved[2] = 1.0
    loss = motion_loss(reference, replace(reference, displacement=moved), AMF_ONLY)
    assert math.isclose(float(loss.amf), (1 - 0.2 / 3) * 2 / 6, rel_tol=1e-6)


def test_each_pair_divides_by_its_own_mask():
    reference = still(frames=2, span=2)
    moved = reference.displacement.clone()
    moved[:, 0, 0, 0], moved[:, 0, 1, 0] = 2.0, 10.0
    mask = torch.tensor([[[1.0, 0.25]], [[0.0, 0.0]]])
    loss = motion_loss(reference, replace(reference, displacement=moved), AMF_ONLY, mask)
    # Frame 0 asks twice: (1 * 4 + .25 * 100) / 1.25; frame 1 counts for nothing.
    assert math.isclose(float(loss.amf), 2 * 29 / 1.25 / 3, rel_tol=1e-6)


def test_a_full_mask_changes_nothing_and_an_empty_one_leaves_no_pull():
    (q, k), config = random_qk(), AMFConfig(window=3, tile=(2, 2))
    reference, generated = (attention_motion_flow(q, k + shift, config) for shift in (0, 0.5))
    plain = motion_loss(reference, generated, AMF_ONLY)
    assert torch.allclose(plain.amf, motion_loss(reference, generated, AMF_ONLY, torch.ones(3, 4, 5)).amf)
    assert float(motion_loss(reference, generated, AMF_ONLY, torch.zeros(3, 4, 5)).amf) == 0


@pytest.mark.parametrize("released", [False, True])
def test_the_window_loss_counts_where_the_mask_does(released):
    (q, k), config = random_qk(), AMFConfig(window=3, tile=(2, 2))
    generated = attention_motion_flow(q, k, config)
    weights = LossWeights(amf=0.0, consistency=1.0, released_scale=released)

    def window(mask):
        return float(motion_loss(generated, generated, weights, mask, tile=config.tile).consistency)

    left, right = torch.zeros(3, 4, 5), torch.zeros(3, 4, 5)
    left[:, :, :2], right[:, :, 2:] = 1, 1
    whole = window(None)
    assert window(torch.ones(3, 4, 5)) == pytest.approx(whole)
    assert window(torch.zeros(3, 4, 5)) == 0
    # Of 6 tiles 2 lie in the left part; ragged ones count as whole ones do.
    assert window(left) / 3 + window(right) * 2 / 3 == pytest.approx(whole)
    assert window(left) != pytest.approx(window(right))


def test_window_loss_by_hand():
    pairs = frame_pairs(4, 4)
    keys = torch.zeros(len(pairs), 2, 2)
    keys[pairs.index((0, 0))] = 99.0
    keys[pairs.index((0, 2)), 0] = torch.tensor([3.0, 4.0])
    keys[pairs.index((0, 3)), 0] = torch.tensor([3.0, 4.0])
    keys[pairs.index((1, 3)), 1] = torch.tensor([0.0, 2.0])
    flow = flow_of(torch.zeros(len(pairs), 1, 2, 2), 4, 4, keys)
    # Steps 0: 1->2 and 2->3, 1: 2->3, two tiles each; changes 25 and 4, norms 5 and 2.
    assert math.isclose(float(motion_loss(flow, flow, CONSISTENCY_ONLY).consistency), 29 / 6, rel_tol=1e-6)
    unsquared = replace(CONSISTENCY_ONLY, released_scale=True)
    assert math.isclose(float(motion_loss(flow, flow, unsquared).consistency), 7 / 6, rel_tol=1e-6)


def test_window_loss_is_zero_with_fewer_than_two_later_frames():
    flow = flow_of(torch.zeros(5, 1, 2, 2), 3, 2, torch.rand(5, 2, 2))
    assert float(motion_loss(flow, flow, CONSISTENCY_ONLY).consistency) == 0


def test_released_scale_sums_the_amf_term_over_tokens():
    reference = still(frames=2, span=2, height=3, width=4)
    generated = replace(reference, displacement=reference.displacement + 1)
    ours = motion_loss(reference, generated, AMF_ONLY).amf
    released = motion_loss(reference, generated, replace(AMF_ONLY, released_scale=True)).amf
    assert math.isclose(float(released), 12 * float(ours), rel_tol=1e-6)


def test_total_is_the_weighted_sum_of_both():
    (q, k), config = random_qk(), AMFConfig(window=3, tile=(2, 2))
    reference, generated = (attention_motion_flow(q, k + shift, config) for shift in (0, k))
    loss = motion_loss(reference, generated, LossWeights(amf=5, consistency=0.5))
    assert float(loss.amf) > 0 and float(loss.consistency) > 0
    assert math.isclose(float(loss.total), 5 * float(loss.amf) + 0.5 * float(loss.consistency), rel_tol=1e-9)


@pytest.mark.parametrize("centre", ["self", "expectation", "argmax"])
def test_a_video_against_itself_has_no_loss_and_no_gradient(centre):
    q, k = (tensor.requires_grad_() for tensor in random_qk(dtype=torch.float32))
    config = AMFConfig(window=3, tile=(2, 2), sharpness=3, centre=centre)
    reference = attention_motion_flow(q.detach(), k.detach(), config)
    loss = motion_loss(reference, attention_motion_flow(q, k, config, reference.centres), AMF_ONLY)
    loss.total.backward()
    assert float(loss.total.detach()) == 0
    assert not q.grad.any() and not k.grad.any()


@pytest.mark.parametrize(
    "weights", [AMF_ONLY, CONSISTENCY_ONLY, replace(CONSISTENCY_ONLY, released_scale=True), LossWeights()]
)
def test_gradcheck(weights):
    shape = (3, 3, 3, 2, 1)
    config = AMFConfig(temporal_span=3, window=3, tile=(2, 2), sharpness=3, centre="argmax")
    reference = attention_motion_flow(*random_qk(1, shape), config)
    mask = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(2))

    def total(q, k):
        generated = attention_motion_flow(q, k, config, reference.centres)
        return motion_loss(reference, generated, weights, mask, tile=config.tile).total

    assert torch.autograd.gradcheck(total, tuple(tensor.requires_grad_() for tensor in random_qk(0, shape)))


def test_a_reference_made_under_inference_mode_can_guide():
    config = AMFConfig(window=3, tile=(2, 2))
    with torch.inference_mode():
        reference = attention_motion_flow(*random_qk(1), config)
        mask = torch.rand(3, 4, 5)
    q, k = (tensor.requires_grad_() for tensor in random_qk())
    generated = attention_motion_flow(q, k, config, reference.centres)
    motion_loss(reference, generated, LossWeights(), mask, tile=config.tile).total.backward()
    assert q.grad.any() and k.grad.any()


def test_flows_that_cannot_be_compared_are_refused():
    config = AMFConfig(window=3, tile=(2, 2), sharpness=5, centre="argmax")
    reference, own = (attention_motion_flow(*random_qk(seed), config) for seed in (1, 2))
    with pytest.raises(ValueError, match="centres=reference.centres"):
        motion_loss(reference, own, LossWeights())
    shorter = attention_motion_flow(*random_qk(1, (2, 4, 5, 2, 3)), config)
    narrower = attention_motion_flow(*random_qk(1, (3, 4, 4, 2, 3)), config)
    for other in (shorter, narrower):
        with pytest.raises(ValueError, match="frame pairs on .* read the motion again"):
            motion_loss(reference, other, LossWeights())


def test_bad_weights_and_missing_keys_are_named():
    flow = still(frames=3, span=3)
    with pytest.raises(ValueError, match="window_keys=True"):
        motion_loss(flow, flow, LossWeights())
    with pytest.raises(ValueError, match=r"mask: expected shape \(3, 1, 2\)"):
        motion_loss(flow, flow, AMF_ONLY, torch.ones(3, 2, 2))


def masked(value):
    return torch.full((3, 4, 5), value)


@pytest.mark.parametrize(
    ("weights", "frames", "more", "pulls"),
    [
        (LossWeights(), 3, {}, True),
        (LossWeights(amf=0, consistency=0), 3, {}, False),
        (LossWeights(), 3, {"mask": masked(0.0)}, False),
        (LossWeights(), 3, {"mask": masked(0.5)}, True),
        (AMF_ONLY, 1, {}, True),
        (LossWeights(self_pairs=0), 1, {}, False),
        (replace(AMF_ONLY, self_pairs=0), 2, {}, True),
        (replace(AMF_ONLY, self_pairs=0), 2, {"cuts": (1,)}, False),
        (CONSISTENCY_ONLY, 2, {}, False),
        (CONSISTENCY_ONLY, 3, {}, True),
        (CONSISTENCY_ONLY, 3, {"cuts": (1,)}, False),
    ],
)
def test_what_pulls_has_a_gradient_and_nothing_else(weights, frames, more, pulls):
    grid, config = TokenGrid(frames, 4, 5), AMFConfig(temporal_span=3, window=3, tile=(2, 2))
    q, k = random_qk(shape=(frames, 4, 5, 2, 3), dtype=torch.float32)
    motion = made(attention_motion_flow(q, k, config).displacement, grid, config, **more)
    objective = FastVMT(weights)
    assert objective.pulls(motion) == pulls
    moving = (q.flip(-1).requires_grad_(True), k.requires_grad_(True))
    loss = objective.target(motion, 0.5, torch.device("cpu")).loss(Signals(*moving))
    gradients = torch.autograd.grad(loss.total, moving, allow_unused=True, materialize_grads=True)
    assert any(bool(gradient.abs().max() > 0) for gradient in gradients) == pulls
