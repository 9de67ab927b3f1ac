"""Memory and time of guidance in context windows: those of one window, and of all."""

from functools import partial

import pytest

from tests.core.video.allocations import allocated_at_most
from tests.host.runs import loaded, noise, run_sampler, small_motion
from tests.host.sampling.test_windows import (
    BLOCK,
    GRID,
    SIGMA,
    WINDOW,
    euler,
    gradient_of,
    handler,
    losses,
    windowed,
    without_a_frame_before,
)


def test_the_plan_is_a_windows_and_the_time_is_all_windows(pack, tiny_model, prompt, monkeypatch):
    rates = pack("fastvmt_core.budget.time").Rates(1e9, 1e9)
    monkeypatch.setattr(pack("nodes.host.gradient.memory"), "measured_rates", lambda *_: rates)
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    plans = {}

    def noted(kind):
        return lambda event, data: plans.__setitem__(kind, data["memory"]) if event == "guidance" else None

    core = pack("fastvmt_core.config")
    config = core.GuidanceConfig(inner_steps=1, end_percent=1)
    short = small_motion(pack, tiny_model, prompt, noise(1, WINDOW), BLOCK)
    for kind, model, of, x in (
        (
            "windows",
            windowed(tiny_model, handler(overlap=0, schedule="batched", **without_a_frame_before())),
            motion,
            noise(2, GRID),
        ),
        ("whole", tiny_model, motion, noise(2, GRID)),
        ("one window", tiny_model, short, noise(2, WINDOW)),
    ):
        apply = pack("nodes.host.sampling.wrapper").apply_motion
        euler(apply(model, of, core.LossWeights(), config, None, noted(kind)), prompt, x)
    assert plans["windows"]["needed_gb"] == plans["one window"]["needed_gb"] <= plans["whole"]["needed_gb"]
    assert plans["windows"]["seconds"] == pytest.approx(2 * plans["one window"]["seconds"], abs=0.2)


def test_memory_is_that_of_one_window(pack, tiny_model, prompt):
    """A gradient of thirteen latent frames in windows of three needs no more than one of three, but its own latents."""
    long, found = (13, 4, 4), {}
    motions = {grid: small_motion(pack, tiny_model, prompt, noise(1, grid), BLOCK) for grid in (long, WINDOW)}
    window_handler = handler(**without_a_frame_before())

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        base, sigma = model.inner_model.inner_model, sigmas[:1].clone()
        windows = pack("nodes.host.sampling.windows").ContextWindows(window_handler, long[0], 3, 6)
        bare = {**extra_args, "model_options": {**extra_args["model_options"]}}
        del bare["model_options"]["context_handler"]
        with pack("nodes.host.gradient.scope").gradient_scope(base.diffusion_model):
            x = x.clone()
            whole, part = (
                losses(pack, model, motions[grid], point, sigma, args, of)
                for grid, point, args, of in ((long, x, extra_args, windows), (WINDOW, x[:, :, :3], bare, None))
            )
            # Once before, as first calls allocate what stays.
            gradient_of(part, x[:, :, :3])
            found["window"] = allocated_at_most(lambda: gradient_of(part, x[:, :, :3]))
            found["windows"] = allocated_at_most(lambda: gradient_of(whole, x))
        found["latent"] = x.nbytes
        return x

    run_sampler(windowed(tiny_model, window_handler), prompt, sampler, noise(2, long), [SIGMA, 0.9])
    # The point, the latent as the model sees it, two sums and their counts, and the gradient.
    assert found["windows"] <= 1.1 * found["window"] + 6 * found["latent"], found
    assert found["window"] > 20 * found["latent"]


@pytest.mark.slow
def test_a_run_of_a_clip_of_257_frames_needs_a_tenth_more_than_one_of_33(pack, prompt):
    """In a Wan of eight blocks of width 512; the smaller a model, the more the latents count beside its activations."""
    model, long, short = loaded("t2v", dim=512, ffn_dim=2048, num_heads=4, num_layers=9), (65, 4, 4), (9, 4, 4)
    core, apply = pack("fastvmt_core.config"), pack("nodes.host.sampling.wrapper").apply_motion
    config = core.GuidanceConfig(inner_steps=1, end_percent=1, memory="fastest")
    in_windows, found = windowed(model, handler(length=9, overlap=2, **without_a_frame_before())), {}
    for grid, of in ((short, model), (long, in_windows)):
        motion = small_motion(pack, of, prompt, noise(1, grid), 8)
        guided, x = apply(of, motion, core.LossWeights(), config, None), noise(2, grid)
        # Once before, as first calls allocate what stays.
        for _ in range(2):
            found[grid] = allocated_at_most(partial(euler, guided, prompt, x, sigmas=(1.0, 0.9)))
    assert found[long] <= 1.1 * found[short], found
