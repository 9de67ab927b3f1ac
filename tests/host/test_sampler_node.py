"""FastVMT Sampler: the same as Apply Motion and a KSampler, and a log of it."""

import base64
import dataclasses
import io
import json
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from tests.host.reading.test_inversion import GRID, WIDGETS
from tests.host.runs import noise

GUIDANCE = {
    "preset": "custom",
    "inner_steps": 3,
    "lr_start": 0.05,
    "lr_end": 0.03,
    "gradient_interval": 2,
    "end_percent": 0.5,
    "strength": 1.0,
}
SAMPLING = {"seed": 3, "steps": 4, "cfg": 4.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}


@pytest.fixture
def motion(pack, tiny_model, prompt):
    """The motion of a made-up latent."""
    with torch.inference_mode():
        node = pack("nodes.inversion").FastVMTInvertMotion
        return node.execute(tiny_model, {"samples": noise(1, GRID)}, prompt, **WIDGETS).args[0]


@pytest.fixture
def sample(pack, tiny_model, prompt, motion, monkeypatch):
    """FastVMT Sampler's execute; returns the latent and the log."""
    node = pack("nodes.sampler").FastVMTSampler
    monkeypatch.setattr(node, "hidden", SimpleNamespace(unique_id="7"), raising=False)

    def execute(**changes):
        given = {"latent_image": {"samples": torch.zeros_like(noise(1, GRID))}, **SAMPLING, **GUIDANCE, **changes}
        with torch.inference_mode():
            prompts = {"positive": prompt, "negative": prompt}
            latent, log = node.execute(tiny_model, motion, **{**prompts, **given}).args
        return latent["samples"], json.loads(log)

    return execute


def test_it_samples_what_apply_motion_and_a_ksampler_do(pack, tiny_model, prompt, motion, sample, monkeypatch):
    from nodes import common_ksampler

    apply = pack("nodes.guidance").FastVMTApplyMotion
    monkeypatch.setattr(apply, "hidden", SimpleNamespace(unique_id="7"), raising=False)
    latent = {"samples": torch.zeros_like(noise(1, GRID))}
    with torch.inference_mode():
        guided = apply.execute(tiny_model, motion, **GUIDANCE).args[0]
        (expected,) = common_ksampler(
            guided,
            *(SAMPLING[name] for name in ("seed", "steps", "cfg", "sampler_name", "scheduler")),
            prompt,
            prompt,
            latent,
        )
        (plain,) = common_ksampler(
            tiny_model,
            *(SAMPLING[name] for name in ("seed", "steps", "cfg", "sampler_name", "scheduler")),
            prompt,
            prompt,
            latent,
        )
    found, _ = sample()
    assert torch.equal(found, expected["samples"])
    assert not torch.equal(found, plain["samples"])
    untouched, log = sample(strength=0.0)
    assert torch.equal(untouched, plain["samples"])
    assert log["steps"] == [] and log["guided_steps"] is None


def test_the_log_tells_every_guided_step(sample):
    _, log = sample()
    assert log["grid"] == list(GRID)
    assert len(log["sigmas"]) == SAMPLING["steps"] + 1
    assert [step["step"] for step in log["steps"]] == log["guided_steps"] != []
    assert log["gradient_evaluations"] == 2 * len(log["steps"])
    for step in log["steps"]:
        # Inner steps 0 and 2 took a fresh gradient, 1 did not.
        assert [loss is None for loss in step["losses"]] == [False, True, False]
        assert step["losses"][2] < step["losses"][0]
        assert len(step["gradient_norms"]) == 3 and step["stopped"] is None


def test_what_the_page_is_sent(pack, tiny_model, prompt, motion, monkeypatch):
    report, sampling, core = (
        pack(name) for name in ("nodes.host.page.report", "nodes.host.sampling.wrapper", "fastvmt_core.config")
    )
    # Each inner step in a message of its own, each with its flow, however fast they are.
    monkeypatch.setattr(report, "BUNDLE_SECONDS", 0)
    monkeypatch.setattr(report, "FLOW_SECONDS", 0)
    monkeypatch.setattr(report, "PICTURE_SECONDS", 0)
    messages = []
    flow = pack("fastvmt_core.motion.fields").frame_flow_of(motion).contiguous()
    motion = dataclasses.replace(motion, frame_flow=flow)
    config = core.GuidanceConfig(**{name: value for name, value in GUIDANCE.items() if name != "preset"})
    with torch.inference_mode():
        guided = sampling.apply_motion(
            tiny_model, motion, core.LossWeights(), config, "7", lambda event, data: messages.append((event, data))
        )
        pack("nodes.host.sampling.ksampler").sample(
            guided, prompt, prompt, {"samples": torch.zeros_like(noise(1, GRID))}, **SAMPLING
        )
    assert {data["node"] for _, data in messages} == {"7"}
    assert json.loads(json.dumps(messages)) == [[event, data] for event, data in messages]
    (_, plan), *later = messages
    frames, height, width = GRID
    assert plan["inner_steps"] == 3 and plan["reference"]["grid"] == [height, width]
    assert len(plan["reference"]["frames"]) == frames - 1
    arrows = pack("fastvmt_core.viz.arrows").arrows
    assert plan["reference"] == arrows(flow[0])
    per_guided = ["step", "inner_steps", "inner_steps", "inner_steps", "guided_step", "picture"]
    plain = ["step", "picture"] * (SAMPLING["steps"] - len(plan["guided_steps"]))
    assert [event for event, _ in later] == per_guided * len(plan["guided_steps"]) + plain + ["sampled"]
    pictures = [data for event, data in later if event == "picture"]
    assert all(picture_of(data).size == (2 * width, 2 * height * frames) for data in pictures)
    inner = [data for event, data in later if event == "inner_steps"]
    assert [data["first"] for data in inner[:3]] == [0, 1, 2]
    assert [data["fresh"] for data in inner[:3]] == [[True], [False], [True]]
    assert [data["losses"][0] is None for data in inner[:3]] == [False, True, False]
    assert all(len(data["flow"]["frames"]) == frames - 1 for data in inner)
    # The latent is another after each inner step, and comes closer to what the objective asks for.
    assert inner[0]["flow"]["frames"] != inner[2]["flow"]["frames"]
    assert inner[2]["losses"][0] < inner[0]["losses"][0]
    assert later[0][1]["seconds_left"] is None and later[-3][1]["seconds_left"] >= 0


def picture_of(data):
    """The picture of a message."""
    head, code = data["picture"].split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(code)))


def test_nothing_is_matched_for_the_page(pack, motion, monkeypatch):
    """A motion of an older file keeps no frame flow; matching its latent would take long and serve the panel alone."""
    assert motion.frame_flow is None and motion.reference is not None
    fields, messages = pack("fastvmt_core.motion.fields"), []
    monkeypatch.setattr(fields, "latent_steps", None)
    run = pack("nodes.host.page.report").GuidanceReport(
        "7", motion, [1.0, 0.0], (0,), 1, lambda *message: messages.append(message)
    )
    run.run_begins()
    assert len(messages[0][1]["reference"]["frames"]) == motion.grid.frames - 1


def test_the_page_is_sent_how_the_latent_moves(pack, motion):
    report, core = pack("nodes.host.page.report"), pack("fastvmt_core.guidance.optimizer")
    messages = []
    run = report.GuidanceReport("7", motion, [1.0, 0.5, 0.0], (0,), 1, lambda *message: messages.append(message))
    run.step_guided(0, core.GuidanceLog(), torch.full((1, 2, 2, 2), 0.5))
    assert messages[0][1]["flow"] == {"grid": [2, 2], "cells": [2, 2], "frames": [[50] * 8]}


def test_inner_steps_that_follow_fast_are_sent_together(pack, motion):
    report, core = pack("nodes.host.page.report"), pack("fastvmt_core.guidance.optimizer")
    messages = []
    now = iter(range(1000))
    clock = SimpleNamespace(now=0.0)
    run = report.GuidanceReport(
        "7", motion, [1.0, 0.5, 0.0], (0,), 5, lambda event, data: messages.append((event, data)), lambda: clock.now
    )
    run.run_begins()
    run.step_begins(0)
    for number in range(5):
        clock.now += 0.04
        run.inner_step(0, number, core.InnerStep(float(next(now)), {}, True, 1.0, None, 0.1), None)
    bundles = [(data["first"], data["losses"]) for event, data in messages if event == "inner_steps"]
    # After .12 s, and at the end of the step.
    assert bundles == [(0, [0.0, 1.0, 2.0]), (3, [3.0, 4.0])]


def test_the_video_so_far_is_sent_once_a_second(pack, motion, tiny_model):
    messages, clock = [], SimpleNamespace(now=0.0)
    run = pack("nodes.host.page.report").GuidanceReport(
        "7", motion, [1.0, 0.0], (0,), 1, lambda *message: messages.append(message), lambda: clock.now
    )
    for clock.now in (0.0, 0.5, 0.9, 1.1, 1.5, 2.2):
        run.denoised(tiny_model.model.latent_format, torch.zeros(1, 16, 3, 8, 8))
    assert [event for event, _ in messages] == ["picture"] * 3


def test_an_empty_positive_prompt_is_named(sample):
    with pytest.raises(ValueError, match="^positive: expected a prompt, got an empty list; connect CLIP Text Encode"):
        sample(positive=[])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": 10**9}, "^steps: expected a whole number from 1 to 10000, got 1000000000"),
        ({"cfg": 1e6}, "^cfg: expected a finite number from 0 to 100"),
        ({"seed": 2**64 - 1, "sampler_name": "ddim"}, r"^seed: expected a whole number below 2\*\*64 - 1 with ddim"),
        (
            {"latent_image": {"samples": torch.ones(1, 16, 2, 8, 8).half()}, "sampler_name": "sa_solver"},
            "^latent_image: expected float32 with sa_solver, got torch.float16",
        ),
        ({"latent_image": {"samples": torch.ones(1, 48, 2, 8, 8)}}, "^latent_image: expected a video latent .*16"),
        (
            {"latent_image": {"samples": torch.ones(0, 16, 2, 8, 8)}},
            "^latent_image: expected a video latent .* not empty",
        ),
        (
            {"latent_image": {"samples": torch.ones(1, 16, 0, 8, 8)}},
            "^latent_image: expected a video latent .* not empty",
        ),
    ],
)
def test_what_comes_by_a_link_past_its_limits_is_named(sample, changes, says):
    with pytest.raises(ValueError, match=says):
        sample(**changes)
