"""What every objective keeps: a finite loss, a gradient to q and k, least at its own reference, no shared state."""

from __future__ import annotations

import pytest
import torch

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig, LossWeights
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.fingerprint import ModelFingerprint
from fastvmt_core.objectives.fastvmt import FastVMT
from fastvmt_core.objectives.protocol import MotionLoss, Signals

GRID = TokenGrid(3, 4, 5)
CONFIG = AMFConfig(temporal_span=3, window=3, tile=(2, 2), sharpness=4)
OBJECTIVES = {
    "fastvmt": FastVMT(LossWeights()),
    "fastvmt released scale": FastVMT(LossWeights(released_scale=True)),
    "fastvmt without consistency": FastVMT(LossWeights(consistency=0)),
}


def signals(seed):
    generator = torch.Generator().manual_seed(seed)
    return Signals(*(torch.randn(*GRID.as_tuple, 2, 6, generator=generator, requires_grad=True) for _ in "qk"))


def motion_of(clip):
    """The motion of a clip, as reading it gives it."""
    flow = attention_motion_flow(clip.q.detach(), clip.k.detach(), CONFIG, window_keys=False)
    return MotionEmbedding(
        flows=(flow,),
        sigmas=(0.3,),
        grid=GRID,
        config=CONFIG,
        seed=0,
        fingerprint=ModelFingerprint("WanModel", dim=12, heads=2, depth=4, block=2, latent_channels=16),
        reference=None,
        reference_hash="made up",
    )


@pytest.fixture(params=OBJECTIVES)
def objective(request):
    return OBJECTIVES[request.param]


def test_the_blocks_that_the_motion_was_read_from_are_needed(objective):
    assert objective.needs(motion_of(signals(0))).queries_and_keys == (2,)


def test_the_loss_is_finite_and_its_gradient_reaches_q_and_k(objective):
    clip = signals(1)
    loss = objective.target(motion_of(signals(0)), 0.9, torch.device("cpu")).loss(clip)
    loss.total.backward()
    assert torch.isfinite(loss.total) and all(torch.isfinite(term) for term in loss.terms.values())
    assert clip.q.grad.any() and clip.k.grad.any()


def test_the_amf_term_is_least_at_the_own_reference(objective):
    own = signals(0)
    target = objective.target(motion_of(own), 0.9, torch.device("cpu"))
    loss = target.loss(own)
    assert float(loss.terms["amf"].detach()) == pytest.approx(0, abs=1e-9)
    assert float(target.loss(signals(1)).terms["amf"].detach()) > 0.01


def test_two_targets_do_not_meet(objective):
    first, second = (objective.target(motion_of(signals(seed)), 0.9, torch.device("cpu")) for seed in (0, 1))
    alone = float(first.loss(signals(2)).total.detach())
    second.loss(signals(3))
    assert float(first.loss(signals(2)).total.detach()) == alone


def test_the_mean_of_a_batch_is_that_of_its_losses():
    one, two = (MotionLoss(torch.tensor(v), {"amf": torch.tensor(2 * v)}) for v in (1.0, 3.0))
    mean = MotionLoss.mean([one, two])
    assert float(mean.total) == 2 and float(mean.terms["amf"]) == 4
