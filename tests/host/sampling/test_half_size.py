"""Guidance at half the latent's height and width: its gradient, the self test, odd sides, conditions, and an end in
the middle."""

from functools import partial

import pytest
import torch

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig, LossWeights
from fastvmt_core.motion.half_size import halved, halved_level, level_to_halve, onto_the_path
from fastvmt_core.objectives.fastvmt import motion_loss
from tests.host.runs import captured_qk, loaded, noise, run_sampler, small_motion
from tests.host.sampling.test_gradient import hosts_own_qk
from tests.host.sampling.test_kills import Killed, OperationCounter, cancel, raise_error, state_of

GRID = (2, 8, 8)
HALF = (2, 4, 4)
BLOCK = 2
SIGMA = 0.95


def guided(pack, model, motion, resolution="half", **config):
    core = pack("fastvmt_core.config")
    settings = {"inner_steps": 1, "lr_start": 0.1, "lr_end": 0.1, "end_percent": 1, "resolution": resolution, **config}
    return pack("nodes.host.sampling.wrapper").apply_motion(
        model, motion, core.LossWeights(), core.GuidanceConfig(**settings), None
    )


def euler(model, prompt, x, sigmas=(1.0, 0.9, 0.8), **given):
    import comfy.k_diffusion.sampling

    return run_sampler(model, prompt, comfy.k_diffusion.sampling.sample_euler, x, list(sigmas), **given)


@pytest.mark.parametrize("recomputed", [0, BLOCK], ids=["kept", "recomputed"])
def test_the_gradient_is_that_of_the_hosts_own_forward_of_the_halved_latent(pack, tiny_model, prompt, recomputed):
    scope = pack("nodes.host.gradient.scope").gradient_scope
    grid, plan = pack("fastvmt_core.grid").TokenGrid(*HALF), pack("fastvmt_core.budget.memory").MemoryPlan
    config, context, found = AMFConfig(temporal_span=2, window=3, tile=(2, 2)), prompt[0][0], {}

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        base, sigma = model.inner_model.inner_model, sigmas[:1].clone()

        def hosts_own(x):
            smaller = onto_the_path(sigma) * halved(x)
            with torch.inference_mode(False), torch.no_grad():
                return hosts_own_qk(base, smaller, halved_level(sigma), context, grid=HALF, blocks=(BLOCK,))

        reference = attention_motion_flow(*hosts_own(noise(1, GRID)), config)

        def loss_of(q, k):
            flow = attention_motion_flow(q, k, config, reference.centres)
            return motion_loss(reference, flow, LossWeights()).total

        with scope(base.diffusion_model):
            point = x.clone().requires_grad_(True)
            chosen = plan(recomputed, offloaded=bool(recomputed))
            q, k = captured_qk(pack, model, point, sigma, extra_args, (BLOCK,), grid, chosen, half=True)
            (gradient,) = torch.autograd.grad(loss_of(q[0], k[0]), point)
        own_q, own_k = hosts_own(x)
        # The same float32 operations.
        assert torch.allclose(q[0], own_q, atol=1e-4) and torch.allclose(k[0], own_k, atol=1e-4)
        generator = torch.Generator().manual_seed(3)
        directions = [gradient / gradient.norm()]
        directions += [d / d.norm() for d in torch.randn(8, *x.shape, generator=generator)]
        # As in test_gradient: between the truncation of a central difference and float32's rounding.
        step, measured, predicted = 3e-2, [], []
        for direction in directions:
            ahead, behind = (loss_of(*hosts_own(x + sign * step * direction)) for sign in (1, -1))
            measured.append((ahead - behind) / (2 * step))
            predicted.append((gradient * direction).sum())
        found["cosine"] = torch.nn.functional.cosine_similarity(torch.stack(measured), torch.stack(predicted), dim=0)
        found["ratio"] = measured[0] / predicted[0]
        return x

    run_sampler(tiny_model, prompt, sampler, noise(2, GRID), [SIGMA, 0.9])
    assert found["cosine"] >= 0.999
    assert found["ratio"] == pytest.approx(1, abs=0.01)


def test_a_video_against_itself_has_no_loss_and_no_gradient(pack, tiny_model, prompt):
    """At the level whose half size is the one that the motion was read at, under the same noise."""
    import comfy.sample

    latent = noise(1, GRID)
    motion = small_motion(pack, tiny_model, prompt, latent, BLOCK)
    half = pack("fastvmt_core.motion.half_size").motion_at_half_size(motion)
    sigma, found = level_to_halve(motion.sigmas[0]), {}

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        from types import SimpleNamespace

        base, level = model.inner_model.inner_model, sigmas[:1].clone()
        with torch.inference_mode(False):
            clip = base.process_latent_in(latent)
            x = level * comfy.sample.prepare_noise(latent, motion.seed) + (1 - level) * clip
        objective = pack("fastvmt_core.objectives.fastvmt").FastVMT(LossWeights())
        with pack("nodes.host.gradient.scope").gradient_scope(base.diffusion_model):
            loss = pack("nodes.host.sampling.objective").LatentLoss(
                target=objective.target(half, motion.sigmas[0], x.device),
                needs=objective.needs(half),
                grid=half.grid,
                memory=SimpleNamespace(plan=pack("fastvmt_core.budget.memory").KEEP_ALL),
                model=model,
                sigma=level,
                extra_args=extra_args,
                cuts=(),
                half=True,
            )
            point = x.clone().requires_grad_(True)
            terms = loss(point).terms
            found["loss"] = float(terms["amf"].detach())
            found["gradient"] = float(torch.autograd.grad(terms["amf"], point)[0].abs().max())
        return x

    run_sampler(tiny_model, prompt, sampler, noise(2, GRID), [sigma, 0.0])
    # Squares of float32's rounding of displacements of a few tokens.
    assert found["loss"] < 1e-9
    assert found["gradient"] < 1e-6


def test_all_of_an_odd_latent_of_two_clips_is_moved(pack, tiny_model, prompt):
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    x = torch.randn(2, 16, 2, 17, 15, generator=torch.Generator().manual_seed(2))
    plain = euler(tiny_model, prompt, x, (1.0, 0.9))
    moved = euler(guided(pack, tiny_model, motion), prompt, x, (1.0, 0.9))
    assert torch.isfinite(moved).all()
    assert ((moved - plain).abs().amax(dim=(1, 2)) > 0).all()


def test_both_resolutions_run_in_one_run(pack, tiny_model, prompt, monkeypatch):
    motion, seen = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK), []
    objective = pack("nodes.host.sampling.objective")
    capture = objective.signals_of

    def noted(**given):
        seen.append((given["half"], given["grid"].as_tuple))
        return capture(**given)

    monkeypatch.setattr(objective, "signals_of", noted)
    euler(guided(pack, tiny_model, motion, "half then full"), prompt, noise(2, GRID), (1.0, 0.8, 0.4, 0.2))
    assert seen[0] == (True, HALF) and seen[-1] == (False, GRID)


def test_a_video_of_another_size_than_the_motions(pack, tiny_model, prompt):
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    assert torch.isfinite(euler(guided(pack, tiny_model, motion), prompt, noise(2, (3, 10, 9)), (1.0, 0.9))).all()


def test_an_inpaint_mask_holds_at_half_size(pack, tiny_model, prompt):
    import comfy.k_diffusion.sampling
    import comfy.samplers

    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    guider = comfy.samplers.CFGGuider(guided(pack, tiny_model, motion))
    guider.set_conds(prompt, prompt)
    kept = noise(4, GRID)
    mask = torch.ones(1, 1, 2, 16, 16)
    mask[..., :8] = 0
    with torch.inference_mode():
        sampler = comfy.samplers.KSAMPLER(comfy.k_diffusion.sampling.sample_euler)
        out = guider.sample(
            noise(2, GRID), kept, sampler, torch.tensor([1.0, 0.5, 0.0]), denoise_mask=mask, seed=0, disable_pbar=True
        )
    assert torch.allclose(out[..., :8], kept[..., :8], atol=1e-4)


def of_an_image(prompt):
    """As the host's image to video nodes make it."""
    with torch.inference_mode():
        image = torch.randn(1, 16, 2, 16, 16, generator=torch.Generator().manual_seed(3))
        mask = torch.ones(1, 1, 2, 16, 16)
        mask[:, :, 0] = 0
        return [[prompt[0][0], {"concat_latent_image": image, "concat_mask": mask}]]


def of_a_control_clip(prompt):
    """As VACE's node makes it."""
    with torch.inference_mode():
        frames = torch.randn(1, 32, 2, 16, 16, generator=torch.Generator().manual_seed(3))
        extra = {"vace_frames": [frames], "vace_mask": [torch.ones(1, 64, 2, 16, 16)], "vace_strength": [1.0]}
        return [[prompt[0][0], extra]]


def of_a_frame(prompt, entry):
    """As Fun-Control's node makes it (reference_latents), or Phantom's (time_dim_concat)."""
    with torch.inference_mode():
        frame = torch.randn(1, 16, 1, 16, 16, generator=torch.Generator().manual_seed(3))
        return [[prompt[0][0], {entry: [frame] if entry == "reference_latents" else frame}]]


@pytest.mark.parametrize(
    ("kind", "conditioned", "latents"),
    [
        ("wan22_i2v", of_an_image, {"c_concat": (1, 20, 2, 8, 8)}),
        ("vace", of_a_control_clip, {"vace_context": (1, 1, 96, 2, 8, 8)}),
        ("fun_control", partial(of_a_frame, entry="reference_latents"), {"reference_latent": (1, 16, 8, 8)}),
        ("t2v", partial(of_a_frame, entry="time_dim_concat"), {"time_dim_concat": (1, 16, 1, 8, 8)}),
    ],
)
def test_latents_of_a_condition_are_halved_with_the_latent(pack, prompt, kind, conditioned, latents):
    model, given, networks = loaded(kind), conditioned(prompt), []
    motion = small_motion(pack, model, prompt, noise(1, GRID), BLOCK)
    halves, capture = pack("nodes.host.models.half_size"), pack("nodes.host.attention.capture")

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        video_model = pack("nodes.host.models.video_model").VideoModel.of_run(wrapped.inner_model)
        condition = capture.active_condition(wrapped.inner_model, SIGMA)
        networks.append(halves.halved_condition(video_model.family, condition)["model_conds"])
        return x

    run_sampler(model, given, sampler, noise(2, GRID), [SIGMA, 0.5])
    assert {name: tuple(networks[0][name].cond.shape) for name in latents} == latents
    assert torch.isfinite(euler(guided(pack, model, motion), given, noise(2, GRID), (1.0, 0.9))).all()


def test_frames_that_wan_22_5b_keeps_hold_no_noise(pack, comfyui):
    """Its mask is a condition, and a frame that is kept stands at level 0."""
    from types import SimpleNamespace

    import comfy.model_sampling

    mask = torch.ones(1, 1, 2, 4, 4)
    mask[:, :, 0] = 0
    x, sigma = torch.randn(1, 3, 2, 4, 4), torch.tensor([0.8])
    condition = {"model_conds": {"denoise_mask": SimpleNamespace(cond=mask)}}
    flow = comfy.model_sampling.CONST()
    smaller, level = pack("nodes.host.models.half_size").halved_latent(condition, x, sigma, flow)
    assert torch.allclose(smaller[:, :, 0], halved(x)[:, :, 0])
    assert torch.allclose(smaller[:, :, 1], onto_the_path(sigma) * halved(x)[:, :, 1])
    assert float(level) == pytest.approx(0.8 / 1.2)


def test_a_prompt_of_a_part_of_the_noise_counts_by_the_runs_own_level(pack, tiny_model, prompt):
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    # At half size level .99 is .98, below this range.
    ranged = [[prompt[0][0], {"start_percent": 0.0, "end_percent": 0.12}]]
    low = float(tiny_model.get_model_object("model_sampling").percent_to_sigma(0.12))
    assert halved_level(torch.tensor(0.99)) < low < 0.99
    out = euler(guided(pack, tiny_model, motion), ranged, noise(2, GRID), (0.99, 0.9), negative=prompt)
    assert torch.isfinite(out).all()


def test_a_small_video_is_refused(pack, tiny_model, prompt):
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    with pytest.raises(ValueError, match="resolution: expected full for so small a video.*3 x 3 tokens"):
        euler(guided(pack, tiny_model, motion), prompt, noise(2, (2, 6, 6)))


def test_a_motion_without_its_flow_at_half_size_is_refused(pack, tiny_model, prompt):
    motion = small_motion(pack, tiny_model, prompt, noise(1, (2, 6, 6)), BLOCK)
    assert motion.half_displacement == ()
    with pytest.raises(ValueError, match="motion: expected one that was read at half size too"):
        euler(guided(pack, tiny_model, motion), prompt, noise(2, GRID))


def test_a_model_that_refuses_half_the_size_is_read_at_its_own(pack, tiny_model, prompt, monkeypatch):
    def refuse(*_):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(pack("nodes.host.attention.capture"), "halved_condition", refuse)
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    assert motion.half_displacement == () and len(motion.flows) == 1


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("area", (2, 8, 8, 0, 0, 0), "conditioning area"),
        ("control", object(), "ControlNet"),
        ("model_conds", {"unknown_latents": torch.zeros(1, 3, 2, 4, 4)}, "got unknown_latents"),
    ],
)
def test_a_condition_that_cannot_be_halved_is_refused(pack, entry, value, message):
    from types import SimpleNamespace

    if entry == "model_conds":
        value = {name: SimpleNamespace(cond=tensor) for name, tensor in value.items()}
    condition = {"model_conds": {}, entry: value}
    with pytest.raises(ValueError, match=f"positive: .*{message}.*set resolution to full"):
        pack("nodes.host.models.half_size").halved_condition(pack("nodes.host.models.wan").WAN, condition)


def test_the_plan_counts_the_tokens_of_half_the_size(pack, tiny_model, prompt):
    memory, counted = pack("nodes.host.gradient.memory"), {}
    grid = pack("fastvmt_core.grid").TokenGrid(*GRID)

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        for resolution in ("full", "half", "half then full"):
            planned = memory.GuidedMemory(model.inner_model, x, grid, BLOCK, "auto", resolution=resolution)
            counted[resolution] = planned.sizes.tokens, planned.run_estimate(0, 1, 3)["seconds"]
        return x

    run_sampler(tiny_model, prompt, sampler, noise(2, GRID), [1.0, 0.9])
    assert {name: tokens for name, (tokens, _) in counted.items()} == {"full": 128, "half": 32, "half then full": 128}


@pytest.mark.parametrize("kill", [raise_error, cancel])
def test_nothing_is_left_of_a_run_that_ends_in_the_middle(pack, tiny_model, prompt, kill):
    import comfy.model_management as host

    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    model = guided(pack, tiny_model, motion, "half then full", memory="smallest")
    ordinary, before = euler(tiny_model, prompt, noise(2, GRID)), state_of(tiny_model, host)
    with OperationCounter() as counter:
        euler(model, prompt, noise(2, GRID))
    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        try:
            with OperationCounter(int(part * counter.count), kill):
                euler(model, prompt, noise(2, GRID))
        except (Killed, host.InterruptProcessingException):
            pass
        else:
            pytest.fail("the run went on")
        finally:
            host.interrupt_current_processing(False)
        assert state_of(tiny_model, host) == before
    assert torch.equal(euler(tiny_model, prompt, noise(2, GRID)), ordinary)
