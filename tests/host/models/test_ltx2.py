"""LTX-2 with sound: the video alone is guided, and the sound beside it stays as the sampler has it."""

import dataclasses

import pytest
import torch

from tools.host import made_families

GRID, LARGE, LONG = (3, 4, 4), (2, 8, 8), (6, 4, 4)
"""Token grids; at half the size the second still shows motion."""


@pytest.fixture(scope="module")
def model(comfyui):
    if not made_families.has_kind("ltx2"):
        pytest.skip("this host has no LTX-2")
    with torch.inference_mode():
        return made_families.loaded("ltx2")


def prompt():
    return made_families.prompt("ltx2")


def video(grid=GRID, seed=2, batch=1):
    return torch.cat([made_families.latent("ltx2", grid, seed + each) for each in range(batch)])


def sound(frames=GRID[0], seed=4, batch=1):
    channels, length, bands = made_families.KINDS["ltx2"].sound
    shape = (batch, channels, length * frames, bands)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def nested(*parts):
    from comfy.nested_tensor import NestedTensor

    return NestedTensor(parts)


def motion_of(pack, model, grid=GRID, objective=None):
    config = pack("fastvmt_core.config").AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    more = {} if objective is None else {"objective": objective}
    with torch.inference_mode():
        return pack("nodes.host.reading.inversion").invert_motion(
            model, video(grid, 1), prompt(), config, (2,), (0.3,), 5, "ignore", **more
        )


def following(pack, model, motion, losses, **changes):
    """The model under guidance; its gradients' losses go to `losses`."""
    core = pack("fastvmt_core.config")

    def note(event, data):
        if event == "guided_step":
            losses.extend(data["losses"])

    how = {"inner_steps": 3, "gradient_interval": 1, "lr_start": 0.02, "lr_end": 0.02, "end_percent": 0.1, **changes}
    return pack("nodes.host.sampling.wrapper").apply_motion(
        model, motion, core.LossWeights(), core.GuidanceConfig(**how), None, note
    )


def sampled(model, *noise, latent=None, mask=None, steps=(1.0, 0.5, 0.0)):
    """(The parts of what is sampled; those of the latent at the end of the first step's guidance)."""
    import comfy.k_diffusion.sampling
    import comfy.samplers

    guider, seen = comfy.samplers.CFGGuider(model), []
    guider.set_conds(prompt(), prompt())
    guider.set_cfg(4.0)

    def parts(x):
        return list(x.unbind()) if len(noise) > 1 else [x]

    def callback(step, x0, x, total):
        seen.append([part.clone() for part in parts(x)])

    made = nested if len(noise) > 1 else lambda part: part
    latent = made(*(torch.zeros_like(part) for part in noise)) if latent is None else latent
    with torch.inference_mode():
        sampler = comfy.samplers.KSAMPLER(comfy.k_diffusion.sampling.sample_euler)
        out = guider.sample(made(*noise), latent, sampler, torch.tensor(steps), mask, callback, seed=0)
        return parts(out), seen[0]


@pytest.mark.parametrize("memory", ["fastest", "smallest"])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_video_is_guided_as_without_sound_which_stays(pack, model, batch, memory):
    motion, losses, alone = motion_of(pack, model), [], []
    x, heard = video(batch=batch), sound(batch=batch)
    out, (moved, kept) = sampled(following(pack, model, motion, losses, memory=memory), x, heard)
    _, (same,) = sampled(following(pack, model, motion, alone, memory=memory), x)
    assert losses[-1] < losses[0] and losses == alone
    assert torch.equal(moved, same) and not torch.equal(moved, x) and torch.equal(kept, heard)
    assert [part.shape for part in out] == [x.shape, heard.shape]
    assert all(bool(torch.isfinite(part).all()) for part in out)


def test_the_sound_takes_part_in_an_ordinary_step(model):
    (one, _), _ = sampled(model, video(), sound())
    (other, _), _ = sampled(model, video(), sound(seed=5))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("resolution", ["full", "half"])
@pytest.mark.parametrize("masked_sound", [False, True])
def test_a_kept_first_frame_is_not_moved(pack, model, resolution, masked_sound):
    motion, losses, x, heard = motion_of(pack, model, LARGE), [], video(LARGE), sound(LARGE[0])
    mask = torch.ones(1, 1, *LARGE)
    mask[:, :, 0] = 0
    mask = nested(mask, torch.zeros_like(heard)) if masked_sound else mask
    latent = nested(video(LARGE, seed=8), sound(LARGE[0], seed=9))
    guided = following(pack, model, motion, losses, resolution=resolution, lr_start=0.1, lr_end=0.1)
    out, (moved, _) = sampled(guided, x, heard, latent=latent, mask=mask)
    (plain, _), _ = sampled(model, x, heard, latent=latent, mask=mask)
    assert losses[-1] < losses[0]
    torch.testing.assert_close(out[0][:, :, 0], latent.unbind()[0][:, :, 0])
    assert not torch.equal(out[0][:, :, 1], plain[:, :, 1])
    assert not torch.equal(moved[:, :, 1], x[:, :, 1])
    if masked_sound:
        torch.testing.assert_close(out[1], latent.unbind()[1])


def test_an_objective_that_follows_the_whole_prediction_works(pack, model):
    (flow_motion,) = [
        each for each in pack("fastvmt_core.objectives.registry").METHODS.values() if each.name == "FlowMotion"
    ]
    losses, motion = [], motion_of(pack, model, objective=flow_motion)
    out, (moved, kept) = sampled(following(pack, model, motion, losses), video(), heard := sound())
    assert losses[-1] < losses[0] and torch.equal(kept, heard) and not torch.equal(moved, video())
    assert all(bool(torch.isfinite(part).all()) for part in out)


def seen_across_the_cut(pack, model, motion, *heard, **how):
    """How far the first shot of one denoised step changes with the noise of the second, relative to the second's."""
    cut = motion.cuts[0] if motion.cuts else 1
    x = video(motion.grid.as_tuple)
    other = torch.cat([x[:, :, :cut], video(motion.grid.as_tuple, seed=7)[:, :, cut:]], dim=2)
    # Guidance itself is to move nothing.
    settings = {"inner_steps": 1, "lr_start": 1e-9, "lr_end": 1e-9}
    how["steps"] = (1.0, 0.5)
    (one, *_), _ = sampled(following(pack, model, motion, [], **settings), x, *heard, **how)
    (two, *_), _ = sampled(following(pack, model, motion, [], **settings), other, *heard, **how)
    first, second = ((one - two)[:, :, part].abs().mean() for part in (slice(0, cut), slice(cut, None)))
    return float(first / second)


@pytest.mark.parametrize("windows", [False, True])
def test_shots_see_nothing_of_each_other_but_by_the_sound(pack, model, windows):
    grid, made = (LONG, windowed(model)) if windows else (GRID, model)
    motion, heard = motion_of(pack, model, grid), sound(grid[0])
    cut = dataclasses.replace(motion, cuts=(1,))
    assert seen_across_the_cut(pack, made, cut) == 0 < seen_across_the_cut(pack, made, motion)
    # Measured on these random weights: .17 and .15 of it, in the sound that both hear.
    assert seen_across_the_cut(pack, made, cut, heard) < 0.3 * seen_across_the_cut(pack, made, motion, heard)


def test_a_mask_of_the_sound_alone_leaves_the_shots_apart(pack, model):
    motion, heard = motion_of(pack, model), sound()
    latent = nested(torch.zeros_like(video()), sound(seed=9))
    how = {"latent": latent, "mask": nested(torch.ones(1, 1, *GRID), torch.zeros_like(heard))}
    cut = dataclasses.replace(motion, cuts=(1,))
    assert seen_across_the_cut(pack, model, cut, heard, **how) < 0.3 * seen_across_the_cut(
        pack, model, motion, heard, **how
    )


def windowed(model):
    import comfy.context_windows as host

    clone = model.clone()
    clone.model_options["context_handler"] = host.IndexListContextHandler(
        context_schedule=host.get_matching_context_schedule("standard_static"),
        fuse_method=host.get_matching_fuse_method("pyramid"),
        context_length=4,
        context_overlap=2,
        dim=2,
    )
    return clone


def test_context_windows_are_followed(pack, model):
    motion, losses, alone, x, heard = motion_of(pack, model, LONG), [], [], video(LONG), sound(LONG[0])
    made = windowed(model)
    out, (moved, kept) = sampled(following(pack, made, motion, losses), x, heard)
    _, (same,) = sampled(following(pack, made, motion, alone), x)
    assert losses[-1] < losses[0] and losses == alone
    assert torch.equal(moved, same) and torch.equal(kept, heard)
    assert all(bool(torch.isfinite(part).all()) for part in out)


def test_our_own_sampler_takes_sound_and_a_latent_of_another_model_is_refused(pack, model):
    sample = pack("nodes.host.sampling.ksampler").sample
    how = {"seed": 0, "steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    losses = []
    guided = following(pack, model, motion_of(pack, model), losses)
    with torch.inference_mode():
        out = sample(guided, prompt(), prompt(), {"samples": nested(video(), sound())}, **how)
        assert [part.shape for part in out["samples"].unbind()] == [video().shape, sound().shape]
        assert losses[-1] < losses[0]
        with pytest.raises(ValueError, match=r"latent_image: expected a video latent \(batch, 128, "):
            sample(guided, prompt(), prompt(), {"samples": nested(video()[:, :5], sound())}, **how)


def test_a_reference_with_sound_is_refused(pack, model):
    config = pack("fastvmt_core.config").AMFConfig()
    with pytest.raises(ValueError, match="reference: expected the latent of a video alone, got one with sound"):
        pack("nodes.host.reading.inversion").invert_motion(
            model, nested(video(), sound()), prompt(), config, (1,), (0.3,), 0, "ignore"
        )


def test_guide_frames_are_refused(pack, model):
    (ltx2,) = [family for family in pack("nodes.host.models.families").FAMILIES if family.name == "LTX-2"]
    guides = type("Cond", (), {"cond": torch.zeros(1, 3, 16)})
    with pytest.raises(ValueError, match="positive: expected no guide frames of LTXV Add Guide"):
        ltx2.leading_frames(None, [{"model_conds": {"keyframe_idxs": guides}}])
