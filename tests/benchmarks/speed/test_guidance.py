"""The benchmark of a guided step: its presets, and the gradients and blocks of each contender."""

import json
import os
import subprocess
import sys

import pytest
import torch

from benchmarks.speed.guidance import ROWS, contenders, main
from benchmarks.speed.real_sizes import MODELS, token_grid
from tools.host import made_models
from tools.host.layout import REPO

PARAMETERS = {"wan1.3b": 1.42e9, "wan14b": 14.3e9, "wan2.2-5b": 5.0e9}
"""Of the released checkpoints."""


@pytest.mark.parametrize(
    ("preset", "size", "grid"),
    [
        ("wan1.3b", "480x832x81", (21, 30, 52)),
        ("wan14b", "480x832x81", (21, 30, 52)),
        ("wan2.2-5b", "480x832x81", (21, 15, 26)),
        ("cpu", "256x400x57", (15, 16, 25)),
    ],
)
def test_sizes_become_tokens(preset, size, grid):
    assert token_grid(size, MODELS[preset]) == grid


@pytest.mark.parametrize(
    "size", ["480x832", "480x832x80", "481x832x81", "0x832x81", "-480x832x81", "axbxc", "480*832*81"]
)
def test_sizes_that_no_clip_has_are_refused(size):
    with pytest.raises(ValueError, match="--size"):
        token_grid(size, MODELS["wan1.3b"])


def test_options_are_checked_before_a_model_is_made():
    with pytest.raises(ValueError, match="--size"):
        main(["--preset", "wan14b", "--size", "480x832x82"])
    with pytest.raises(ValueError, match="--depth"):
        main(["--preset", "tiny", "--depth", "1"])
    with pytest.raises(ValueError, match="--rows"):
        contenders(None, "no such row", False)


@pytest.mark.parametrize("preset", PARAMETERS)
def test_the_host_finds_the_released_model_in_the_shapes(preset):
    made_models.use_comfyui()
    import comfy.ldm.wan.model as wan
    import comfy.model_detection

    sizes = MODELS[preset]
    arguments = {"dim": sizes.dim, "ffn_dim": sizes.ffn_dim, "num_heads": sizes.heads, "num_layers": sizes.depth}
    channels = {"in_dim": 16, "out_dim": 16, **made_models.KINDS[sizes.kind]}
    network = wan.WanModel(model_type="t2v", **channels, **arguments, device="meta", operations=torch.nn)
    shapes = network.state_dict()
    assert sum(tensor.numel() for tensor in shapes.values()) == pytest.approx(PARAMETERS[preset], rel=0.02)
    found = comfy.model_detection.model_config_from_unet(shapes, "")
    assert found.latent_format.latent_channels == sizes.channels
    assert {name: found.unet_config[name] for name in arguments} == arguments


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The smallest case, run as a person runs it."""
    out = tmp_path_factory.mktemp("guidance") / "out.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.guidance",
        "--preset",
        "tiny",
        "--rounds",
        "1",
        "--json",
        str(out),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "FASTVMT_RELEASED"}
    subprocess.run([*command, "--size", "64x64x5"], cwd=REPO, env=environment, check=True, capture_output=True)
    return json.loads(out.read_text(encoding="utf-8"))


def test_every_contender_runs(report):
    assert set(report["rows"]) == set(ROWS)
    assert set(report["not_run"]) == {"released code itself", "plain step with CFG, compiled"}
    assert report["shape"]["tokens"] == 2 * 4 * 4


def test_gradients_and_blocks_are_those_of_each_schedule(report):
    """4 blocks; the third, which is read, ends our pass; three of the released schedule's four run."""
    counts = {name: (row["gradients"], row["blocks_entered"]) for name, row in report["rows"].items()}
    assert counts["ours, Delta 3, fastest"] == counts["ours, Delta 3, auto"] == (4, 4 * 3)
    assert counts["ours, Delta 3, smallest"] == (4, 4 * (3 + 2))
    assert counts["ours, Delta 1, auto"] == (10, 10 * 3)
    # All that ran up to the third again for backward, and a pass for the reference.
    assert counts["released schedule"] == (4, 4 * (3 + 3) + 3)
    assert counts["DiTFlow's manner"] == (10, 10 * (4 + 3))
    assert 4 <= counts["ours, adaptive, auto"][0] <= 10


SAME_GRADIENT = """
import torch
from benchmarks.speed.real_sizes import MODELS, Bench
from benchmarks.speed.rivals import Checkpointed, nested_attention
from tests.host.runs import captured_qk
bench = Bench.of(MODELS["tiny"], "64x64x5", "fp32", text=8)
calls = []
scope = bench.host.pack("nodes.host.gradient.scope").gradient_scope
grid = bench.host.pack("fastvmt_core.grid").TokenGrid(*bench.grid)
def step(model, x, sigmas, extra_args, **_):
    base = model.inner_model.inner_model
    blocks = list(base.diffusion_model.blocks)
    with scope(base.diffusion_model):
        point = x.clone().requires_grad_(True)
        q, k = captured_qk(bench.host.pack, model, point, sigmas[:1].clone(), extra_args, (bench.block,), grid)
        (wanted,) = torch.autograd.grad((q[0] * k[0].flip(0)).sum(), point)
        with nested_attention(blocks[:3]):
            passes = Checkpointed(bench, base, sigmas[:1].clone(), 3)
            attend = passes._attention
            def counted(function, q, *others, **named):
                calls.append(q.shape[1])
                return attend(function, q, *others, **named)
            passes._attention = counted
            q, k = passes(point)
            (gradient,) = torch.autograd.grad((q * k.flip(0)).sum(), point)
    torch.testing.assert_close(gradient, wanted)
    assert [type(block.self_attn).__name__ for block in blocks] == ["WanSelfAttention"] * 4
    assert all(isinstance(block.self_attn.o, torch.nn.Linear) for block in blocks)
    return x
bench.run(step)
# Three blocks: their self-attentions run three times, their attentions to the prompt twice.
assert len(calls) == 3 * 3 + 3 * 2, len(calls)
"""


def test_the_released_schedule_takes_the_same_gradient_and_computes_attention_three_times():
    done = subprocess.run([sys.executable, "-c", SAME_GRADIENT], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
