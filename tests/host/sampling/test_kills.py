"""Fifty guided runs that end in the middle of anything, by cancel or by an error: nothing of them is left."""

import hashlib
import random

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.host.attention.test_foreign_attention import forward_of, override_in_the_blocks_patch, self_forward
from tests.host.runs import noise, run_sampler, small_motion
from tools.host.made_models import lora, quantised_fp8, wan_weights

GRID = (2, 4, 4)
SIGMAS = [1.0, 0.9, 0.8]
BLOCK = 2
KILLS = 25


class OperationCounter(TorchDispatchMode):
    """Counts the tensor operations of a run, forward and backward, and calls `kill` at one of them."""

    def __init__(self, at=None, kill=None):
        super().__init__()
        self.count, self._at, self._kill = 0, at, kill

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if self.count == self._at:
            self._kill()
        self.count += 1
        return function(*args, **(kwargs or {}))


class Killed(BaseException):
    """What a test raises in the middle. No Exception: the host's LoRA code logs those and goes on without the LoRA."""


def raise_error():
    raise Killed("in the middle of a run")


def cancel():
    import comfy.model_management

    comfy.model_management.interrupt_current_processing(True)


MODELS = ["demo's model", "fp8 quantised, with a LoRA", "foreign attention"]


@pytest.fixture(
    scope="module", params=[MODELS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS[1:])]
)
def model(request, tiny_model):
    import comfy.sd

    if request.param == "demo's model":
        return tiny_model
    if request.param == "foreign attention":
        return forward_of("self_attn", self_forward)(override_in_the_blocks_patch(tiny_model))
    with torch.inference_mode():
        weights, metadata = quantised_fp8(wan_weights())
        loaded = comfy.sd.load_diffusion_model_state_dict(weights, metadata=metadata)
        return comfy.sd.load_lora_for_models(loaded, None, lora(wan_weights()), 1.0, 0.0)[0]


@pytest.fixture
def runs(pack, model, prompt):
    """An ordinary run and a guided one, each giving its latent."""
    import comfy.k_diffusion.sampling

    core, motion = pack("fastvmt_core.config"), small_motion(pack, model, prompt, noise(1, GRID), BLOCK)

    def sample(patched):
        return run_sampler(patched, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, GRID), SIGMAS)

    def guided(level):
        config = core.GuidanceConfig(
            inner_steps=2, gradient_interval=1, lr_start=0.1, lr_end=0.1, end_percent=1, memory=level
        )
        return sample(pack("nodes.host.sampling.wrapper").apply_motion(model, motion, core.LossWeights(), config, None))

    return lambda: sample(model), guided


def test_nothing_is_left_wherever_a_run_ends(pack, model, runs):
    import comfy.model_management as host

    plain, guided = runs
    ordinary = plain()
    before = state_of(model, host)
    choices = random.Random(20)
    counts = {}
    for level in ("fastest", "smallest"):
        with OperationCounter() as counter:
            guided(level)
        counts[level] = counter.count
    ended = []
    for number in range(KILLS):
        level, kill = choices.choice(["fastest", "smallest"]), (raise_error, cancel)[number % 2]
        at = choices.randrange(counts[level])
        try:
            with OperationCounter(at, kill):
                guided(level)
        except (Killed, host.InterruptProcessingException) as error:
            ended.append(type(error).__name__)
        finally:
            host.interrupt_current_processing(False)
        assert state_of(model, host) == before, (level, kill, at)
        assert torch.equal(plain(), ordinary), (level, kill, at)
    # Each error ends its run; a cancel in the very last operations may come too late for that.
    assert ended.count("Killed") == (KILLS + 1) // 2
    assert ended.count("InterruptProcessingException") >= KILLS // 2 - 1


def state_of(model, host):
    """All that a run could leave changed: the weights, bit by bit and as objects, options, and modes."""
    import comfy.ldm.wan.model as module

    network = model.model.diffusion_model
    held = [*network.named_parameters(), *network.named_buffers()]
    return {
        "hashes": {name: digest(tensor) for name, tensor in held},
        "objects": {name: id(tensor) for name, tensor in held},
        "modules": [(id(each), id(vars(each).get("forward"))) for each in network.modules()],
        "attention": id(module.optimized_attention),
        "options": structure(model.model_options),
        "patches": structure(model.object_patches),
        "wrappers": structure(model.wrappers),
        "in_training": getattr(host, "in_training", None),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def digest(tensor):
    if hasattr(tensor, "__tensor_flatten__"):
        return [digest(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0]]
    return hashlib.sha256(tensor.detach().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def structure(value):
    """Containers as what they hold, everything else as the object that it is."""
    if isinstance(value, dict):
        return {key: structure(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [structure(held) for held in value]
    return id(value)
