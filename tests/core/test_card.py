"""The core on a device that is not the CPU: the CPU's results bit for bit, and nothing crosses during a gradient."""

import itertools
from dataclasses import replace

import pytest
import torch

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.attention.values import value_steps
from fastvmt_core.config import AdaptiveInterval, AMFConfig, GuidanceConfig, LossWeights
from fastvmt_core.grid import TokenGrid
from fastvmt_core.guidance.gradient_source import GradientSource
from fastvmt_core.guidance.optimizer import optimize_latent
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.fingerprint import ModelFingerprint
from fastvmt_core.objectives.fastvmt import FastVMT
from fastvmt_core.objectives.protocol import Signals
from tests import card

GRID = TokenGrid(4, 5, 6)
CONFIG = AMFConfig(temporal_span=3, window=3, tile=(2, 2))
CONFIGS = [
    AMFConfig(temporal_span=span, window=window, tile=tile, centre=centre)
    for span, window, tile, centre in itertools.product(
        (1, 3), (None, 3), ((2, 4), (1, 1)), ("self", "expectation", "argmax")
    )
]
WEIGHTS = {
    "paper": LossWeights(),
    "released scale": LossWeights(released_scale=True),
    "no consistency": LossWeights(consistency=0),
    "decay and self pairs": LossWeights(distance_decay=0.7, self_pairs=0.2),
}
GUIDANCE = {
    "fixed interval": GuidanceConfig(inner_steps=4),
    "adaptive interval": GuidanceConfig(inner_steps=6, adaptive=AdaptiveInterval()),
    "no guidance": GuidanceConfig(strength=0),
}


@pytest.fixture(scope="module")
def on_card():
    """Calls a function of this module where the card is."""
    with card.process() as call:
        yield call


def qk(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *GRID.as_tuple, 2, 6, generator=generator).to(dtype)


def motion_of(config=CONFIG, mask=None, cuts=()):
    flow = attention_motion_flow(*qk(0), config, window_keys=False)
    fingerprint = ModelFingerprint("WanModel", dim=12, heads=2, depth=4, block=2, latent_channels=16)
    return MotionEmbedding((flow,), (0.3,), GRID, config, 0, fingerprint, None, "made up", cuts=cuts, mask=mask)


def flow_and_gradient(device, config, dtype):
    q, k = (tokens.to(device).requires_grad_(True) for tokens in qk(1, dtype))
    flow = attention_motion_flow(q, k, config)
    gradients = torch.autograd.grad(flow.displacement.square().sum() + flow.window_keys.square().sum(), (q, k))
    return [tensor.detach().cpu() for tensor in (flow.displacement, flow.centres, flow.window_keys, *gradients)]


def steps_of_values(device):
    """How values move on a device, and what crosses meanwhile."""
    v = qk(7)[0].to(device)
    value_steps(v)
    steps, crossed = card.crossings(lambda: value_steps(v))
    return steps.cpu(), crossed


def losses(device, weights, mask, cuts):
    """The terms and gradients of two clips in turn, and what crossed during the second."""
    target = FastVMT(weights).target(motion_of(mask=mask, cuts=cuts), 0.3, torch.device(device))

    def evaluate(clip):
        loss = target.loss(clip)
        return [loss.total, *loss.terms.values(), *torch.autograd.grad(loss.total, (clip.q, clip.k))]

    clips = [Signals(*(tokens.to(device).requires_grad_(True) for tokens in qk(seed))) for seed in (2, 3)]
    first = evaluate(clips[0])
    second, crossed = card.crossings(lambda: evaluate(clips[1]))
    return [tensor.detach().cpu() for tensor in (*first, *second)], crossed


def evaluations():
    """What crosses in the second evaluation of a gradient, its loss and whether it is finite read by Python."""
    target = FastVMT(LossWeights()).target(motion_of(), 0.3, torch.device("card"))
    source = GradientSource(lambda x: target.loss(Signals(*x)))
    point = qk(4).to("card").requires_grad_(True)
    source.evaluate(point)
    return card.crossings(lambda: source.evaluate(point))[1]


def optimised(device, config, share):
    target = FastVMT(LossWeights()).target(motion_of(), 0.3, torch.device(device))
    latent, share = qk(4).to(device), None if share is None else share.to(device)
    moved, log = optimize_latent(latent, lambda x: target.loss(Signals(*x)), config, step_share=share)
    return moved.cpu(), log.losses


def refusals():
    """What the card answers to tensors and generators that lie elsewhere."""
    tensor, messages = torch.zeros(3, device="card"), []
    for wrong in (
        lambda: tensor + torch.zeros(3),
        lambda: torch.randn(3, device="card", generator=torch.Generator()),
        lambda: torch.stack([tensor, torch.zeros(3)]),
        lambda: torch.autocast("card", enabled=False),
    ):
        with pytest.raises((RuntimeError, AssertionError)) as error:
            wrong()
        messages.append(str(error.value))
    return messages


def crossings_of_known_code():
    """(what crossed, by code that a card would wait for)."""
    tensor = torch.zeros(3, device="card")
    return [
        card.crossings(function)[1]
        for function in (
            lambda: torch.tensor([1.0, 2.0], device="card"),
            lambda: tensor[[0, 2]],
            lambda: tensor[[True, False, True]],
            lambda: float(tensor.sum()),
            lambda: tensor.cpu(),
            lambda: (tensor + 1).sum() * 2,
        )
    ]


def test_the_card_refuses_to_mix_devices(on_card):
    messages = on_card(refusals)
    assert all("expected" in message for message in messages[:3]) and "AMP" in messages[3]


def test_the_card_counts_what_crosses(on_card):
    made, by_list, by_mask, read, moved, computed = on_card(crossings_of_known_code)
    assert made == {"to the card": 1}
    assert by_list["to the card"] == 1 and by_mask["to the card"] == 1
    assert read["waits"] == 1 and moved == {"from the card": 1} and computed == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_flows_are_those_of_the_cpu(on_card, dtype):
    for config in CONFIGS if dtype == torch.float32 else CONFIGS[-2:]:
        for ours, theirs in zip(
            on_card(flow_and_gradient, "card", config, dtype), flow_and_gradient("cpu", config, dtype), strict=True
        ):
            assert torch.equal(ours, theirs), config


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cuts", [(), (2,)])
def test_losses_are_those_of_the_cpu_and_nothing_crosses(on_card, weights, masked, cuts):
    mask = torch.rand(GRID.as_tuple, generator=torch.Generator().manual_seed(5)) if masked else None
    case = WEIGHTS[weights], mask, cuts
    ours, crossed = on_card(losses, "card", *case)
    assert all(torch.equal(*pair) for pair in zip(ours, losses("cpu", *case)[0], strict=True))
    assert crossed == {}


def test_the_flow_of_values_is_that_of_the_cpu_and_nothing_crosses(on_card):
    ours, crossed = on_card(steps_of_values, "card")
    assert torch.equal(ours, value_steps(qk(7)[0])) and crossed == {}


def test_a_gradient_waits_for_the_card_twice(on_card):
    crossed = on_card(evaluations)
    # Whether the loss is finite, before a backward that would be in vain; then all the numbers together.
    assert "to the card" not in crossed and crossed["waits"] + crossed.get("from the card", 0) == 2


@pytest.mark.parametrize("config", GUIDANCE)
@pytest.mark.parametrize("shared", [False, True])
def test_the_optimised_latent_is_that_of_the_cpu(on_card, config, shared):
    share = torch.rand(GRID.as_tuple, generator=torch.Generator().manual_seed(6))[None, ..., None, None]
    case = replace(GUIDANCE[config]), share if shared else None
    ours, theirs = on_card(optimised, "card", *case), optimised("cpu", *case)
    assert torch.equal(ours[0], theirs[0]) and ours[1] == theirs[1]
