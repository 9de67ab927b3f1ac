"""What is swapped in the host: listed, only inside the gradient scope, and put back wherever a run ends."""

import ast
import itertools
import sys
from collections.abc import Callable

import pytest
import torch

from tests.host.attention.test_foreign_attention import attention_of_the_hosts_module
from tests.host.runs import noise, run_sampler, small_motion
from tests.host.sampling.test_kills import Killed, OperationCounter, cancel, raise_error
from tools.host.layout import REPO
from tools.host.made_models import quantised_fp8, wan_weights

GRID = (2, 4, 4)
BLOCK = 3
SIGMAS = [1.0, 0.9, 0.8]
POINTS = 50
SWAPPED_FUNCTIONS = {"comfy.ops.cast_bias_weight", "comfy.ops.fp8_linear"}
"""The host's functions that the pack swaps, all of them for the time of a guided step, or of a reading."""
BOUND_BY_NAME = {"optimized_attention", "optimized_attention_masked"}
"""Likewise, in each module of the host's that has imported them."""
SWAPPED_VALUES = {"in_training", "NUM_STREAMS"}
"""Settings of the host's modules, where it has them."""
SWAPPED_IN_MODELS = {"weight", "bias", "modulation", "_full_precision_mm", "forward", "optimized_attention_override"}
"""Entries of a model's modules: weights, settings of quantised layers, forwards of blocks; of the options of a block:
its attention."""


@pytest.fixture(scope="module")
def model(comfyui):
    """A VACE with quantised weights: its run swaps whatever any run does, but float32."""
    import comfy.sd

    with torch.inference_mode():
        weights, metadata = quantised_fp8(wan_weights("vace"))
        return comfy.sd.load_diffusion_model_state_dict(weights, metadata=metadata)


@pytest.fixture
def guided(pack, model, prompt):
    """A motion is read, then two steps, of which the first is guided: one gradient, all blocks recomputed."""
    import comfy.k_diffusion.sampling

    core = pack("fastvmt_core.config")
    config = core.GuidanceConfig(inner_steps=1, lr_start=0.1, lr_end=0.1, end_percent=0.01, memory="smallest")

    def run(patched=model):
        motion = small_motion(pack, patched, prompt, noise(1, GRID), BLOCK)
        following = pack("nodes.host.sampling.wrapper").apply_motion(patched, motion, core.LossWeights(), config, None)
        return run_sampler(following, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, GRID), SIGMAS)

    return run


@pytest.fixture
def swaps(pack, monkeypatch):
    """By holder and name: the holder's entries, the name, and the value before the first swap. Grows with each run."""
    swap, seen = pack("nodes.host.swap"), {}
    put = swap._put

    def recorded(entries, name, value):
        seen.setdefault((id(entries), name), (entries, name, entries.get(name, swap.ABSENT)))
        put(entries, name, value)

    monkeypatch.setattr(swap, "_put", recorded)
    return seen


def host_functions():
    """Every function and class in the host's modules, by its full name."""
    modules = [(name, module) for name, module in sys.modules.items() if name.split(".")[0] == "comfy" and module]
    return {
        f"{name}.{attribute}": value
        for name, module in modules
        for attribute, value in list(vars(module).items())
        if isinstance(value, Callable)
    }


def changed(before, after):
    return {name for name in before if after.get(name) is not before[name]}


def bound(names):
    """Those of the names that are functions which modules import by name."""
    return {name for name in names if name.rsplit(".", 1)[-1] in BOUND_BY_NAME}


def test_the_hosts_functions_are_swapped_inside_the_gradient_scope_alone(model, guided):
    before, passes = host_functions(), {}

    def patch(args, extra):
        # The host samples in inference mode, which the scope leaves; reading needs no gradient.
        which = "ordinary" if torch.is_inference_mode_enabled() else f"gradient {torch.is_grad_enabled()}"
        passes.setdefault(which, set()).update(changed(before, host_functions()))
        return extra["original_block"](args)

    patched = model.clone()
    patched.set_model_patch_replace(patch, "dit", "double_block", 0)
    guided(patched)
    assert passes.pop("ordinary") == set()
    assert sorted(passes) == ["gradient False", "gradient True"]
    for inside in passes.values():
        assert inside - bound(inside) == SWAPPED_FUNCTIONS
        assert {name.rsplit(".", 1)[-1] for name in bound(inside)} == BOUND_BY_NAME
    assert changed(before, host_functions()) == set()


def test_another_packs_attention_is_swapped_inside_the_gradient_scope_alone(pack, model, guided, monkeypatch):
    """It stands in the host's module, onto which the blocks' own attention is put, in guidance and in reading."""
    import comfy.ldm.wan.model as module

    swap, modes = pack("nodes.host.swap"), {}
    put = swap._put

    def recorded(entries, name, value):
        mode = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        modes.setdefault(name if entries is vars(module) else "others", set()).add(mode)
        put(entries, name, value)

    monkeypatch.setattr(swap, "_put", recorded)
    guided(attention_of_the_hosts_module(model))
    # Outside inference mode, with a gradient and without one.
    assert modes["optimized_attention"] == {(False, True), (False, False)}
    assert all(inference is False for each in modes.values() for inference, _ in each)


def test_all_that_is_swapped_is_listed(guided, swaps):
    guided()
    modules = {id(vars(module)): name for name, module in sys.modules.items() if name.split(".")[0] == "comfy"}
    in_modules = {f"{modules[holder]}.{name}" for holder, name in swaps if holder in modules}
    in_models = {name for holder, name in swaps if holder not in modules}
    values = {f"comfy.model_management.{name}" for name in SWAPPED_VALUES}
    assert SWAPPED_FUNCTIONS <= in_modules - bound(in_modules) <= SWAPPED_FUNCTIONS | values
    assert in_models <= SWAPPED_IN_MODELS
    assert {"weight", "bias", "forward"} <= in_models
    page = (REPO / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in (in_modules - bound(in_modules)) | BOUND_BY_NAME)


@pytest.mark.slow
def test_all_is_put_back_wherever_a_run_ends(pack, guided, swaps):
    import comfy.model_management as host

    absent, before = pack("nodes.host.swap").ABSENT, host_functions()
    # Once before: a first run has operations that later ones do not.
    guided()
    with OperationCounter() as counter:
        guided()
    ended = []
    # From the first operation of the run to its last.
    points = [counter.count * number // POINTS for number in range(POINTS)]
    for at, kill in zip(points, itertools.cycle((raise_error, cancel)), strict=False):
        try:
            with OperationCounter(at, kill):
                guided()
        except (Killed, host.InterruptProcessingException) as error:
            ended.append(type(error).__name__)
        finally:
            host.interrupt_current_processing(False)
        assert changed(before, host_functions()) == set(), (at, kill)
        left = [name for entries, name, value in swaps.values() if entries.get(name, absent) is not value]
        assert left == [], (at, kill)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == (True, False)
    # Each error ends its run; a cancel in the very last operations may come too late for that.
    assert ended.count("Killed") == POINTS // 2
    assert ended.count("InterruptProcessingException") >= POINTS // 2 - 1


def test_nothing_is_swapped_by_other_means():
    """Only `swapped` writes into what is not ours: no file assigns to a module of the host's."""
    for path in sorted((REPO / "nodes").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        targets = [
            target
            for node in ast.walk(tree)
            if isinstance(node, (ast.Assign, ast.AugAssign, ast.Delete))
            for target in (node.targets if hasattr(node, "targets") else [node.target])
        ]
        written = [ast.unparse(target) for target in targets]
        written += [
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("setattr", "delattr")
        ]
        assert [text for text in written if text.startswith(("comfy", "setattr", "delattr"))] == [], path
