"""Guidance in context windows: its gradient, every variant of the host's handler, and what is refused."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig
from fastvmt_core.objectives.fastvmt import motion_loss
from tests.host.runs import noise, run_sampler, small_motion
from tests.host.sampling.test_gradient import hosts_own_qk

GRID = (5, 4, 4)
WINDOW = (3, 4, 4)
LARGE = (5, 8, 8)
"""At half the size it still shows motion."""
BLOCK = 2
SIGMA = 0.95
CONFIG = AMFConfig(temporal_span=2, window=3, tile=(2, 2))
SCHEDULES = ("standard_static", "standard_uniform", "looped_uniform", "batched")
FUSES = ("pyramid", "relative", "flat", "overlap-linear")


def handler(length=3, overlap=1, schedule="standard_static", fuse="pyramid", stride=1, **more):
    """The host's own."""
    import comfy.context_windows as host

    return host.IndexListContextHandler(
        context_schedule=host.get_matching_context_schedule(schedule),
        fuse_method=host.get_matching_fuse_method(fuse),
        context_length=length,
        context_overlap=overlap,
        context_stride=stride,
        **{"dim": 2, **more},
    )


def without_a_frame_before():
    """Newer hosts put the frame before a window in front of it."""
    return {"causal_window_fix": False} if hasattr(handler(), "causal_window_fix") else {}


def windowed(model, handler):
    clone = model.clone()
    clone.model_options["context_handler"] = handler
    return clone


def guided(pack, model, motion, **config):
    core = pack("fastvmt_core.config")
    settings = {"inner_steps": 1, "lr_start": 0.1, "lr_end": 0.1, "end_percent": 1, **config}
    return pack("nodes.host.sampling.wrapper").apply_motion(
        model, motion, core.LossWeights(), core.GuidanceConfig(**settings), None
    )


def euler(model, prompt, x, sigmas=(1.0, 0.9, 0.8), **given):
    import comfy.k_diffusion.sampling

    return run_sampler(model, prompt, comfy.k_diffusion.sampling.sample_euler, x, list(sigmas), **given)


def weights_of(window_handler, frames):
    """(windows, F): each window's share of what a frame becomes, found by fusing a 1 in one window at a time."""
    x, shares = torch.zeros(1, 1, frames, 1, 1), []
    options = {"transformer_options": {"sample_sigmas": torch.tensor([SIGMA, 0.9])}}
    seen = []

    def evaluate(base, conditions, sub_x, sigma, options):
        seen.append(options["transformer_options"]["context_window"])
        return [torch.full_like(sub_x, float(len(seen) - 1 == chosen))]

    base = SimpleNamespace(latent_format=SimpleNamespace(temporal_downscale_ratio=4))
    chosen, count = 0, 1
    while chosen < count:
        seen.clear()
        shares.append(window_handler.execute(evaluate, base, [None], x, torch.tensor([SIGMA]), options)[0].flatten())
        chosen, count = chosen + 1, len(seen)
    return torch.stack(shares), [window.index_list for window in seen]


def losses(pack, model, motion, x, sigma, extra_args, windows, half=False):
    """The guided run's own loss, with and without windows."""
    run, objective = pack("nodes.host.sampling.run"), pack("fastvmt_core.objectives.registry").DEFAULT
    guidance = SimpleNamespace(
        motion=motion, objective=objective, config=SimpleNamespace(inner_steps=1), node_id=None, send=lambda *_: None
    )
    memory = SimpleNamespace(plan=pack("fastvmt_core.budget.memory").KEEP_ALL)
    steps = {0: run.GuidedStep(1.0, half)}
    made = run.GuidedRun(guidance, steps, torch.tensor([SIGMA, 0.9]), memory, (), windows=windows)
    return made._loss_at(0, model, x, sigma, extra_args)


def gradient_of(loss_of, x):
    point = x.clone().requires_grad_(True)
    loss = loss_of(point)
    return torch.autograd.grad(loss.total, point)[0], loss


def own_prompts(**given):
    """A handler of another pack: the first window has the first prompt, later ones the last."""
    import comfy.context_windows as host

    class OwnPrompts(host.IndexListContextHandler):
        def get_resized_cond(self, cond_in, x_in, window, device=None):
            chosen = None if cond_in is None else [cond_in[-1 if window.index_list[0] else 0]]
            return super().get_resized_cond(chosen, x_in, window, device)

    made = handler(**given)
    made.__class__ = OwnPrompts
    return made


@pytest.mark.parametrize("fuse", [*FUSES, "own prompts"])
def test_the_gradient_is_the_windows_own_joined_as_the_host_joins_them(pack, tiny_model, prompt, fuse):
    found, contexts = {}, [prompt[0][0]] * 2
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    if fuse == "own prompts":
        with torch.inference_mode():
            prompt = [*prompt, [prompt[0][0].flip(1), {}]]
        contexts = [each[0] for each in prompt]
        window_handler = own_prompts(**without_a_frame_before())
    else:
        window_handler = handler(fuse=fuse, **without_a_frame_before())
    shares, frames = weights_of(window_handler, GRID[0])
    assert len(frames) > 1 and torch.allclose(shares.sum(0), torch.ones(GRID[0]))

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        base, sigma = model.inner_model.inner_model, sigmas[:1].clone()
        objective = pack("fastvmt_core.objectives.registry").DEFAULT
        with torch.inference_mode(False):
            parts = [objective.of_frames(motion, window) for window in frames]

        def loss_at(point, direction, size):
            """The sum of the windows' losses where each moves by its share of the direction."""
            total = 0.0
            for window, part, share, context in zip(frames, parts, shares, contexts, strict=True):
                moved = point + size * share.view(1, 1, -1, 1, 1) * direction
                with torch.inference_mode(False), torch.no_grad():
                    sub = moved[:, :, window].clone()
                    q, k = hosts_own_qk(base, sub, sigma, context, grid=WINDOW, blocks=(BLOCK,))
                    flow = attention_motion_flow(q, k, CONFIG, part.flows[0].centres)
                    weights = pack("fastvmt_core.presets").PAPER_LOSS_WEIGHTS
                    total += len(window) / GRID[0] * motion_loss(part.flows[0], flow, weights, tile=CONFIG.tile).total
            return total

        windows = pack("nodes.host.sampling.windows").ContextWindows(window_handler, GRID[0], 3, 2)
        with pack("nodes.host.gradient.scope").gradient_scope(base.diffusion_model):
            gradient, _ = gradient_of(losses(pack, model, motion, x, sigma, extra_args, windows), x.clone())
        generator = torch.Generator().manual_seed(3)
        directions = [gradient / gradient.norm()]
        directions += [d / d.norm() for d in torch.randn(4, *x.shape, generator=generator)]
        # As in test_gradient: between the truncation of a central difference and float32's rounding.
        size = 3e-2
        measured = torch.stack([(loss_at(x, d, size) - loss_at(x, d, -size)) / (2 * size) for d in directions])
        predicted = torch.stack([(gradient * d).sum() for d in directions])
        found["cosine"] = torch.nn.functional.cosine_similarity(measured, predicted, dim=0)
        found["ratio"] = measured[0] / predicted[0]
        return x

    run_sampler(windowed(tiny_model, window_handler), prompt, sampler, noise(2, GRID), [SIGMA, 0.9])
    assert found["cosine"] >= 0.999
    assert found["ratio"] == pytest.approx(1, abs=0.01)


def test_one_window_over_all_frames_is_the_whole_clip(pack, tiny_model, prompt):
    found, window_handler = {}, handler(length=GRID[0], overlap=0)
    window_handler.should_use_context = lambda *_: True
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        base, sigma = model.inner_model.inner_model, sigmas[:1].clone()
        windows = pack("nodes.host.sampling.windows").ContextWindows(window_handler, GRID[0], GRID[0], 1)
        bare = {**extra_args, "model_options": {**extra_args["model_options"]}}
        del bare["model_options"]["context_handler"]
        with pack("nodes.host.gradient.scope").gradient_scope(base.diffusion_model):
            found["windowed"], loss = gradient_of(losses(pack, model, motion, x, sigma, extra_args, windows), x.clone())
            found["whole"], whole = gradient_of(losses(pack, model, motion, x, sigma, bare, None), x.clone())
        for name in ("total", "reducible"):
            assert torch.allclose(getattr(loss, name), getattr(whole, name), rtol=1e-5)
        assert {name: float(term) for name, term in loss.terms.items()} == pytest.approx(
            {name: float(term) for name, term in whole.terms.items()}, rel=1e-5
        )
        return x

    run_sampler(windowed(tiny_model, window_handler), prompt, sampler, noise(2, GRID), [SIGMA, 0.9])
    largest = found["whole"].abs().max()
    assert torch.allclose(found["windowed"], found["whole"], rtol=1e-5, atol=float(1e-5 * largest))


@pytest.mark.parametrize("optimizer", ["adamw", "polyak"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_guided_and_leaves_the_model_as_it_was(pack, tiny_model, prompt, schedule, optimizer):
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    model = windowed(tiny_model, handler(schedule=schedule))
    before = euler(model, prompt, noise(2, GRID))
    moved = euler(guided(pack, model, motion, optimizer=optimizer), prompt, noise(2, GRID))
    assert torch.isfinite(moved).all() and not torch.equal(moved, before)
    # All frames take part.
    assert ((moved - before).abs().amax((0, 1, 3, 4)) > 0).all()
    assert torch.equal(euler(model, prompt, noise(2, GRID)), before)


def test_frames_that_lie_apart_are_guided(pack, tiny_model, prompt):
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    model = windowed(tiny_model, handler(length=2, overlap=1, schedule="standard_uniform", stride=2))
    moved = euler(guided(pack, model, motion), prompt, noise(2, GRID))
    assert torch.isfinite(moved).all() and not torch.equal(moved, euler(model, prompt, noise(2, GRID)))


def test_half_the_size_is_guided_in_windows(pack, tiny_model, prompt):
    motion, x = small_motion(pack, tiny_model, prompt, noise(1, LARGE), BLOCK), noise(2, LARGE)
    model = windowed(tiny_model, handler())
    moved = euler(guided(pack, model, motion, resolution="half"), prompt, x, sigmas=(1.0, 0.9))
    assert torch.isfinite(moved).all() and not torch.equal(moved, euler(model, prompt, x, sigmas=(1.0, 0.9)))
    apart = windowed(tiny_model, handler(length=2, overlap=1, schedule="standard_uniform", stride=2))
    with pytest.raises(ValueError, match="resolution: expected full with context windows whose frames lie 2 apart"):
        euler(guided(pack, apart, motion, resolution="half"), prompt, x)


def test_a_window_outside_the_mask_does_not_move(pack, tiny_model, prompt):
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    mask = torch.zeros(GRID)
    mask[:2] = 1
    model = windowed(tiny_model, handler(overlap=0, schedule="batched"))
    before = euler(model, prompt, noise(2, GRID), sigmas=(1.0, 0.9))
    followed = guided(pack, model, dataclasses.replace(motion, mask=mask))
    moved = (euler(followed, prompt, noise(2, GRID), sigmas=(1.0, 0.9)) - before).abs().amax((0, 1, 3, 4))
    assert (moved[:2] > 0).all() and not moved[3:].any()


@pytest.mark.parametrize(("text", "first"), [(0, 0), (2, 2), (2, -10)])
def test_cuts_part_shots_inside_their_window(pack, text, first):
    """Denoised with a cut, no frame after it changes with one before it in its window."""
    windows, shots = pack("nodes.host.sampling.windows"), pack("nodes.host.attention.shots")
    import comfy.context_windows as host

    grid = pack("fastvmt_core.grid").TokenGrid(5, 1, 2)
    known = {"total_frames": 5} if "total_frames" in host.IndexListContextWindow.__init__.__code__.co_varnames else {}
    window = host.IndexListContextWindow([2, 3, 4], dim=2, **known)
    within = windows.WindowedShots(shots.TokenShots(grid, (3,), first))
    q, k, v = torch.randn(3, 1, text + 6, 4, generator=torch.Generator().manual_seed(0)).unbind()

    def attention(q, k, v, **_):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    def attend(v):
        return within.attend(attention, q, k, v, transformer_options={"context_window": window})

    other = v.clone()
    # Frame 2 of the clip, the window's first, lies before the cut.
    other[:, text : text + 2] += 1
    assert torch.equal(attend(v)[:, text + 2 :], attend(other)[:, text + 2 :])
    assert not torch.equal(attend(v)[:, text : text + 2], attend(other)[:, text : text + 2])


@pytest.mark.parametrize("name", ["SMM", "MOFT", "DiTFlow", "FlowMotion", "flow of values"])
def test_other_objectives_are_guided_in_windows(pack, tiny_model, prompt, name):
    motion = read_for(pack, tiny_model, prompt, name)
    model = windowed(tiny_model, handler())
    moved = euler(guided(pack, model, motion), prompt, noise(2, GRID))
    assert torch.isfinite(moved).all() and not torch.equal(moved, euler(model, prompt, noise(2, GRID)))


def test_an_objective_of_the_whole_clip_is_refused(pack, tiny_model, prompt):
    motion = read_for(pack, tiny_model, prompt, "MotionClone")
    with pytest.raises(ValueError, match="MotionClone, which compares each frame with all others; take out"):
        euler(guided(pack, windowed(tiny_model, handler()), motion), prompt, noise(2, GRID))


def read_for(pack, model, prompt, name):
    flow = pack("fastvmt_core.config").AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    with torch.inference_mode():
        return pack("nodes.host.reading.inversion").invert_motion(
            model, noise(1, GRID), prompt, flow, (BLOCK,), (0.3,), 5, "ignore",
            objective=pack("fastvmt_core.objectives.registry").METHODS[name],
        )  # fmt: skip


@pytest.mark.parametrize("overlap", [3, 5])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_overlap_as_long_as_a_window_is_refused_where_it_leaves_no_window(
    pack, tiny_model, prompt, schedule, overlap
):
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    model = guided(pack, windowed(tiny_model, handler(length=3, overlap=overlap, schedule=schedule)), motion)
    if schedule == "batched":
        # It has no overlap.
        assert torch.isfinite(euler(model, prompt, noise(2, GRID))).all()
        return
    with pytest.raises(ValueError, match=f"context_overlap: expected less than context_length.* 3 .*got {overlap}"):
        euler(model, prompt, noise(2, GRID))


def test_windows_of_another_axis_and_batches_are_refused(pack, tiny_model, prompt):
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    with pytest.raises(ValueError, match="dim: expected context windows over the frames of a video, 2, got 3"):
        euler(guided(pack, windowed(tiny_model, handler(dim=3)), motion), prompt, noise(2, GRID))
    two = noise(2, GRID).repeat(2, 1, 1, 1, 1)
    with pytest.raises(ValueError, match="batch_size: expected 1 with context windows"):
        euler(guided(pack, windowed(tiny_model, handler()), motion), prompt, two)
