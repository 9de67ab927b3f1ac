"""What every published objective keeps: a finite loss, 0 against itself, right derivatives, and words for bad input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn.functional import normalize

from fastvmt_core.config import GuidanceConfig, LossWeights
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.objectives import registry
from fastvmt_core.objectives.method import Method
from fastvmt_core.objectives.protocol import MotionLoss, Needs, Signals
from tests.core.objectives.made_signals import CPU, GRID, compared, detached, motion_of, signals

OTHERS = [name for name in registry.METHODS if name != "FastVMT"]
ASKED = {"queries_and_keys": ("q", "k"), "values": ("v",), "hidden": ("hidden",), "velocity": ("latent",)}
WITH_A_MINIMUM_OF_0 = [name for name in OTHERS if name != "DiTFlow"]
"""DiTFlow compares an argmax with an expectation: 0 where the attention is sharp alone."""


@pytest.fixture(params=OTHERS)
def method(request):
    return registry.METHODS[request.param].weighted(LossWeights())


def sharp(clip):
    """The clip with queries and keys so long that its attention is an argmax."""
    return replace(clip, **{name: normalize(getattr(clip, name), dim=-1) * 200 for name in "qk"})


def test_the_loss_is_finite_and_its_gradient_reaches_all_that_is_asked_for(method):
    clip = signals(1)
    loss = compared(method, motion_of(method, signals(0)), clip)
    loss.total.backward()
    assert torch.isfinite(loss.total) and loss.total > 0 and all(torch.isfinite(term) for term in loss.terms.values())
    needs = method.compares((2,))
    asked = {name for need, names in ASKED.items() if getattr(needs, need) for name in names}
    for name in ("q", "k", "v", "hidden", "latent"):
        gradient = getattr(clip, name).grad
        assert (gradient is not None and bool(gradient.any())) == (name in asked), name


@pytest.mark.parametrize("name", WITH_A_MINIMUM_OF_0)
def test_a_clip_against_itself_has_no_loss_and_no_gradient(name):
    method, clip = registry.METHODS[name], signals(0, torch.float64)
    loss = compared(method, motion_of(method, clip), clip)
    loss.total.backward()
    # The motion is kept in float32.
    assert abs(loss.total.item()) < 1e-5
    for tensor in (clip.q, clip.k, clip.v, clip.hidden, clip.latent):
        assert tensor.grad is None or float(tensor.grad.abs().max()) < 1e-4


def test_a_sharp_clip_against_itself_has_no_loss_by_ditflow():
    method, clip = registry.METHODS["DiTFlow"], sharp(detached(signals(0)))
    assert float(compared(method, motion_of(method, clip), clip).total) < 1e-4
    other = sharp(detached(signals(3)))
    assert float(compared(method, motion_of(method, clip), other).total) > 0.5


def test_the_gradient_is_right(method):
    small = TokenGrid(3, 2, 2)
    clip, motion = (signals(seed, torch.float64, small) for seed in (1, 0))
    motion = motion_of(method, motion, small)
    target, needs = method.target(motion, 0.3, CPU), method.compares((2,))
    names = [name for need, asked in ASKED.items() if getattr(needs, need) for name in asked]

    def loss(*tensors):
        return target.loss(replace(clip, **dict(zip(names, tensors, strict=True)))).total

    assert torch.autograd.gradcheck(loss, [getattr(clip, name) for name in names])


def test_nothing_is_followed_under_an_empty_mask_and_the_whole_under_a_full_one(method):
    motion, clip = motion_of(method, signals(0)), signals(1)
    assert method.pulls(motion)
    assert not method.pulls(replace(motion, mask=torch.zeros(GRID.as_tuple)))
    full = compared(method, replace(motion, mask=torch.ones(GRID.as_tuple)), clip)
    assert torch.allclose(full.total, compared(method, motion, clip).total)


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "SMM"])
def test_a_mask_leaves_the_rest_of_the_frame_out_of_the_loss(name):
    method, clip, other = registry.METHODS[name], signals(1), signals(2)
    mask = torch.zeros(GRID.as_tuple)
    mask[:, :2] = 1
    motion = replace(motion_of(method, signals(0)), mask=mask)
    own = compared(method, motion, clip).total
    # Outside the mask all is another clip's: queries there, features, the latent; keys and values stay, to be found.
    mixed = {name: torch.cat([getattr(clip, name)[:, :2], getattr(other, name)[:, 2:]], 1) for name in ("q", "hidden")}
    latent = {
        name: torch.cat([getattr(clip, name)[..., :4, :], getattr(other, name)[..., 4:, :]], -2)
        for name in ("latent", "velocity")
    }
    assert torch.allclose(own, compared(method, motion, replace(clip, **mixed, **latent)).total, rtol=1e-5)


@pytest.mark.parametrize("name", ["SMM", "MOFT", "MotionClone"])
def test_a_motion_without_its_features_is_refused(name):
    method, motion = registry.METHODS[name], motion_of(registry.METHODS["DiTFlow"], signals(0))
    with pytest.raises(ValueError, match=f"motion: expected {name}'s .* got none of these; read the motion again"):
        method.target(motion, 0.3, CPU)


def test_the_level_nearest_to_the_step_is_followed():
    method = registry.METHODS["SMM"]
    low, high = (motion_of(method, signals(seed)) for seed in (0, 5))
    both = replace(low, flows=low.flows + high.flows, sigmas=(0.1, 0.9), targets=low.targets + high.targets)
    assert torch.equal(method.target(both, 0.7, CPU).mean, high.targets[0]["mean"])


def test_each_names_its_source_and_a_schedule_that_can_run():
    for name, method in registry.METHODS.items():
        assert method.name == name and method.source and isinstance(method.schedule, GuidanceConfig)
        assert len(method.name) <= 60


def test_an_unknown_or_another_objective_is_refused_in_words():
    motion = motion_of(registry.METHODS["SMM"], signals(0))
    assert registry.method_for(motion) is registry.METHODS["SMM"]
    with pytest.raises(ValueError, match="objective: expected SMM, which the motion was read for, got DiTFlow"):
        registry.method_for(motion, registry.METHODS["DiTFlow"])
    with pytest.raises(ValueError, match="got one read for tomorrow's; update FastVMT"):
        registry.method_for(replace(motion, objective="tomorrow's"))


@dataclass(frozen=True)
class Brightness(Method):
    """A toy: the mean of a block's output. All that a new objective takes."""

    name = "brightness"
    source = "this test"
    schedule = GuidanceConfig()

    def compares(self, blocks: tuple[int, ...]) -> Needs:
        return Needs(hidden=blocks)

    def read(self, signals: Signals):
        return {"mean": signals.hidden.mean((0, 1, 2))}

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device):
        (mean,) = self.kept(motion, sigma, device, "mean")
        return _Bright(mean)


@dataclass(frozen=True, eq=False)
class _Bright:
    mean: torch.Tensor

    def loss(self, signals: Signals) -> MotionLoss:
        error = (signals.hidden.mean((0, 1, 2)) - self.mean.to(signals.hidden)).square().sum()
        return MotionLoss(error, {"brightness": error})


def test_a_new_objective_takes_one_class_and_one_line(monkeypatch, tmp_path):
    toy = Brightness()
    monkeypatch.setattr(registry, "METHODS", {**registry.METHODS, toy.name: toy})
    clip = signals(0)
    motion_of(toy, clip).save(tmp_path / "toy.safetensors")
    motion = MotionEmbedding.load(tmp_path / "toy.safetensors")
    found = registry.method_for(motion)
    assert found is toy and found.needs(motion) == Needs(hidden=(2,)) and found.needs(motion).whole_blocks == 3
    assert float(compared(found, motion, clip).total) < 1e-10 < float(compared(found, motion, signals(1)).total)
