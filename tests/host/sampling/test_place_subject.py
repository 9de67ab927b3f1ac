"""Prompts by place: what a model predicts with them, which evaluations they leave alone, and what is refused."""

from functools import partial

import pytest
import torch

from tests.host.models import test_other_families as families
from tests.host.runs import loaded, noise, run_sampler, small_motion
from tests.host.sampling.test_windows import handler, windowed, without_a_frame_before

GRID = (3, 4, 4)
SIGMAS = (1.0, 0.9, 0.5)
STRENGTH = 3.0


@pytest.fixture(scope="module")
def wan(comfyui):
    return loaded("t2v")


@pytest.fixture(scope="module")
def background():
    return text(11, tokens=6)


def text(seed, tokens=4):
    with torch.inference_mode():
        return [[torch.randn(1, tokens, 4096, generator=torch.Generator().manual_seed(seed)), {}]]


def corner():
    """White in the upper left token of the first frames, and in the lower right one of the last ones."""
    mask = torch.zeros(9, 64, 64)
    mask[:5, :16, :16] = 1
    mask[5:, 48:, 48:] = 1
    return mask


def round_the_corner():
    """The tokens that this makes the subject's: half a token beyond it."""
    inside = torch.zeros(GRID)
    inside[:2, :2, :2] = 1
    inside[2, 2:, 2:] = 1
    # Diagonally, that is farther away.
    inside[:2, 1, 1] = inside[2, 2, 2] = 0
    return inside


def placed(pack, model, background, mask=None, strength=STRENGTH, end_percent=1.0):
    mask = corner() if mask is None else mask
    return (
        pack("nodes.place_subject").FastVMTPlaceSubject.execute(model, background, mask, strength, end_percent).args[0]
    )


def predictions(model, prompt, x, sigmas=SIGMAS, **given):
    """What the model predicts at each step of an euler run: (positive, negative)."""
    import comfy.k_diffusion.sampling

    found = []

    def keep(of):
        found.append((of["cond_denoised"].clone(), of["uncond_denoised"].clone()))
        return of["cond"]

    watched = model.clone()
    watched.set_model_sampler_cfg_function(keep)
    negative = given.pop("negative", text(12))
    run_sampler(watched, prompt, comfy.k_diffusion.sampling.sample_euler, x, list(sigmas), negative=negative, **given)
    return found


def attending_by_place(model, background, inside, strength):
    """The model with the same values from another computation: each cross-attention runs once on each text."""
    network = model.model.diffusion_model
    patched = model.clone()
    for index, block in enumerate(network.blocks):
        # The class's own: an earlier patch may still stand on the instance.
        original = partial(type(block.cross_attn).forward, block.cross_attn)

        def forward(x, context, original=original, **how):
            other = network.text_embedding(background.to(context))
            own, there = original(x, context, **how), original(x, other.expand(len(x), -1, -1), **how)
            before = torch.ones(x.shape[1] - inside.numel())
            share = torch.cat([before, strength * inside.flatten()])[:, None]
            return there + share * (own - there)

        patched.add_object_patch(f"diffusion_model.blocks.{index}.cross_attn.forward", forward)
    return patched


@pytest.mark.parametrize("tokens", [6, 12], ids=["6 tokens", "with the prompt's as many as a frame"])
def test_outside_the_mask_the_background_is_read_and_inside_the_subject_is_emphasised(pack, wan, prompt, tokens):
    x, background = noise(1, GRID), text(11, tokens)
    got = predictions(placed(pack, wan, background), prompt, x, SIGMAS[:2])
    by_place = attending_by_place(wan, background[0][0], round_the_corner(), STRENGTH)
    wanted, _ = predictions(by_place, prompt, x, SIGMAS[:2])[0]
    plain, negative = predictions(wan, prompt, x, SIGMAS[:2])[0]
    torch.testing.assert_close(got[0][0], wanted, rtol=1e-4, atol=1e-5)
    assert (plain - wanted).abs().max() > 100 * (got[0][0] - wanted).abs().max()
    # The negative prompt stays as it is, whatever stands behind its text.
    torch.testing.assert_close(got[0][1], negative, rtol=1e-4, atol=1e-5)


def test_a_reference_image_before_the_video_reads_the_prompt_alone(pack, background):
    model, x = loaded("fun_control"), noise(1, GRID)
    prompt = [[text(7)[0][0], {"reference_latents": [noise(5, (1, *GRID[1:]))]}]]
    got = predictions(placed(pack, model, background), prompt, x, SIGMAS[:2])[0][0]
    by_place = attending_by_place(model, background[0][0], round_the_corner(), STRENGTH)
    wanted = predictions(by_place, prompt, x, SIGMAS[:2])[0][0]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_each_context_window_reads_the_mask_of_its_frames(pack, wan, prompt, background):
    x, mask = noise(1, (5, 4, 4)), torch.zeros(17, 64, 64)
    mask[13:] = 1
    model = windowed(placed(pack, wan, background, mask, 1.0), handler(**without_a_frame_before()))
    got = predictions(model, prompt, x, SIGMAS[:2])[0][0]
    outside, inside = (
        predictions(windowed(wan, handler(**without_a_frame_before())), each, x, SIGMAS[:2])[0][0]
        for each in (background, prompt)
    )
    # Windows of frames 0 to 2 and 2 to 4: the first sees no white.
    torch.testing.assert_close(got[:, :, :2], outside[:, :, :2], rtol=1e-4, atol=1e-5)
    assert (got - outside)[:, :, 4].abs().max() > 1e-2 and not torch.allclose(got[:, :, 4], inside[:, :, 4], atol=1e-3)


def test_each_of_several_positive_prompts_is_placed(pack, wan, prompt, background):
    x, other = noise(1, GRID), text(13, tokens=4)
    both = predictions(placed(pack, wan, background), [*prompt, *other], x, SIGMAS[:2])[0][0]
    # The host takes the mean of two.
    apart = [predictions(placed(pack, wan, background), each, x, SIGMAS[:2])[0][0] for each in (prompt, other)]
    torch.testing.assert_close(both, sum(apart) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["t2v", "i2v", "vace", "fun_control", "wan22_5b"])
def test_a_background_that_is_the_prompt_changes_nothing(pack, kind, prompt):
    model = loaded(kind)
    x = (
        noise(1, GRID)
        if kind != "wan22_5b"
        else torch.randn(1, 48, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    )
    for got, wanted in zip(
        predictions(placed(pack, model, prompt), prompt, x), predictions(model, prompt, x), strict=True
    ):
        torch.testing.assert_close(got[0], wanted[0], rtol=1e-3, atol=1e-4)


def test_it_ends_at_its_percent(pack, wan, prompt, background):
    x = noise(1, GRID)
    half = placed(pack, wan, background, end_percent=0.05)
    got, plain = predictions(half, prompt, x), predictions(wan, prompt, x)
    assert not torch.allclose(got[0][0], plain[0][0], atol=1e-3)
    sigma = torch.tensor(float(half.get_model_object("model_sampling").percent_to_sigma(0.05)))
    assert SIGMAS[1] < sigma
    late = predictions(half, prompt, x, (0.9, 0.5, 0.1))
    for with_it, without in zip(late, predictions(wan, prompt, x, (0.9, 0.5, 0.1)), strict=True):
        assert torch.equal(with_it[0], without[0])


def test_the_prompts_of_several_videos_are_placed_each(pack, wan, prompt, background):
    model, x = placed(pack, wan, background), torch.cat([noise(1, GRID), noise(2, GRID)])
    together = predictions(model, prompt, x, SIGMAS[:2])[0][0]
    for index, alone in enumerate(x):
        one = predictions(model, prompt, alone[None], SIGMAS[:2])[0][0]
        torch.testing.assert_close(together[index : index + 1], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("windows", [False, True], ids=["whole", "windows"])
def test_guidance_compares_with_what_was_read_without_it(pack, wan, prompt, background, windows):
    core, losses = pack("fastvmt_core.config"), []
    motion = small_motion(pack, wan, prompt, noise(3, GRID), 2)

    def note(kind, data):
        if kind == "guided_step":
            losses[-1].append(data["losses"])

    config = core.GuidanceConfig(inner_steps=1, lr_start=0.1, lr_end=0.1, end_percent=1.0)
    for subject in (False, True):
        model = placed(pack, wan, background) if subject else wan
        guided = pack("nodes.host.sampling.wrapper").apply_motion(
            model, motion, core.LossWeights(), config, "1", send_message=note
        )
        if windows:
            guided = windowed(guided, handler(length=2, **without_a_frame_before()))
        losses.append([])
        predictions(guided, prompt, noise(1, GRID), SIGMAS[:2])
    assert losses[0] and losses[0] == losses[1]


def test_the_users_model_stays_as_it_is(pack, wan, prompt, background):
    x = noise(1, GRID)
    before = predictions(wan, prompt, x)
    predictions(placed(pack, wan, background), prompt, x)
    for old, new in zip(before, predictions(wan, prompt, x), strict=True):
        assert torch.equal(old[0], new[0])


def test_a_model_after_it_follows_a_motion_that_was_read_through_it(pack, wan, prompt, background):
    model = placed(pack, wan, background)
    through = small_motion(pack, model, prompt, noise(3, GRID), 2)
    plain = small_motion(pack, wan, prompt, noise(3, GRID), 2)
    assert torch.equal(through.flows[0].displacement, plain.flows[0].displacement)


def test_what_cannot_be_placed_is_refused_by_name(pack, wan, prompt, background):
    with pytest.raises(ValueError, match="^model: expected one whose blocks read the text"):
        placed(pack, families.loaded("ltxv"), background)
    with pytest.raises(ValueError, match="^model: expected one without a placed subject"):
        placed(pack, placed(pack, wan, background), background)
    for several in ([], [*background, *background]):
        with pytest.raises(ValueError, match=f"^background: expected one prompt, got {len(several)}"):
            placed(pack, wan, several)
    with pytest.raises(ValueError, match="^background: expected text features"):
        placed(pack, wan, [[None, {}]])
    for mask in (torch.zeros(1, 8, 8), torch.full((1, 8, 8), float("nan"))):
        with pytest.raises(ValueError, match="^mask: expected a white area"):
            placed(pack, wan, background, mask)
    with pytest.raises(ValueError, match="^strength: expected"):
        placed(pack, wan, background, strength=float("nan"))
    x = noise(1, GRID)
    dot = torch.zeros(1, 640, 640)
    dot[0, 0, 0] = 1
    with pytest.raises(ValueError, match="^mask: expected a white area of at least half a token"):
        predictions(placed(pack, wan, background, dot), prompt, x)
    narrow = [[torch.zeros(1, 4, 64), {}]]
    with pytest.raises(ValueError, match="^background: expected text features of 4096 channels"):
        predictions(placed(pack, wan, narrow), prompt, x)
    area = [[prompt[0][0], {"area": (4, 4, 0, 0), "strength": 1.0}]]
    with pytest.raises(ValueError, match="^positive: expected a prompt for all of the video"):
        predictions(placed(pack, wan, background), area, x)


def test_wans_that_keep_a_text_or_hide_it_from_their_blocks_are_refused(pack, wan):
    import comfy.ldm.wan.model

    reads = pack("nodes.host.models.wan").WAN.reads_text_apart
    sizes = {"dim": 64, "ffn_dim": 64, "num_heads": 2, "num_layers": 1, "audio_inject_layers": [0]}
    with torch.device("meta"):
        assert not reads(comfy.ldm.wan.model.WanModel_S2V(**sizes, operations=torch.nn))
    assert reads(wan.model.diffusion_model)
    causal = pytest.importorskip("comfy.ldm.wan.ar_model", reason="not in this ComfyUI")
    assert hasattr(causal.CausalWanModel, "forward_block")
