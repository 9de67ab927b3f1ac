"""Shots of a clip with a cut are read and drawn apart: neither looks at the other while the motion is guided."""

import dataclasses

import pytest
import torch

from tests.host.sampling import noise, run_sampler

GRID = (5, 4, 4)
CUT = 3
BLOCK = 3


def attention(q, k, v, heads, **_):
    split = [tokens.unflatten(-1, (heads, -1)).transpose(1, 2) for tokens in (q, k, v)]
    return torch.nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


def qkv(tokens, batch=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, tokens, 8, generator=generator) for _ in range(3)]


@pytest.mark.parametrize(("before", "after"), [(0, 0), (6, 0), (0, 6), (3, 4)])
def test_each_shot_sees_itself_and_the_references(pack, before, after):
    grid = pack("fastvmt_core.grid").TokenGrid(4, 2, 3)
    token_shots = pack("nodes.host.shots").TokenShots(grid, (1, 3), before)
    # 0 for a reference, which all see and which sees all, else the token's shot.
    shot = torch.tensor([0] * before + [1] * 6 + [2] * 12 + [3] * 6 + [0] * after)
    seen = (shot[:, None] == shot) | (shot[:, None] == 0) | (shot == 0)
    q, k, v = qkv(len(shot))
    masked = torch.nn.functional.scaled_dot_product_attention(
        *(tokens.unflatten(-1, (2, 4)).transpose(1, 2) for tokens in (q, k, v)), attn_mask=seen
    )
    # Float32 of order 1.
    torch.testing.assert_close(
        token_shots.attend(attention, q, k, v, heads=2), masked.transpose(1, 2).flatten(2), atol=1e-5, rtol=0
    )


def test_other_tokens_than_the_clips_are_compared_as_ever(pack):
    grid = pack("fastvmt_core.grid").TokenGrid(4, 2, 3)
    token_shots = pack("nodes.host.shots").TokenShots(grid, (2,), 0)
    (q, k, v), (_, few_keys, few_values) = qkv(24), qkv(10)
    for tokens, how in (((q, few_keys, few_values), {}), (qkv(10), {}), ((q, k, v), {"mask": torch.ones(24, 24)})):
        assert torch.equal(token_shots.attend(attention, *tokens, heads=2, **how), attention(*tokens, heads=2))


def test_the_attention_and_the_blocks_of_other_nodes_stay(pack):
    shots, grid = pack("nodes.host.shots"), pack("fastvmt_core.grid").TokenGrid(4, 2, 3)
    calls = []

    def chosen(function, q, k, v, heads, **how):
        calls.append((q.shape[1], k.shape[1]))
        return function(q, k, v, heads)

    def patched_block(args, extra):
        calls.append("block")
        return extra["original_block"](args)

    def block(args):
        """As the host's: a self-attention, then a cross-attention to as many tokens."""
        override = args["transformer_options"]["optimized_attention_override"]
        for _ in range(2):
            override(attention, *qkv(24), heads=2)
        return {"img": args["img"]}

    given = {
        "transformer_options": {
            "optimized_attention_override": chosen,
            "patches_replace": {"dit": {("double_block", 1): patched_block}},
        }
    }
    options = shots.within_shots(given, shots.TokenShots(grid, (2,), 0), 2)["transformer_options"]
    for number in (0, 1):
        args = {"img": None, "transformer_options": options}
        options["patches_replace"]["dit"]["double_block", number](args, {"original_block": block})
    own, other = [(12, 12), (12, 12)], (24, 24)
    assert calls == [*own, other, "block", *own, other]
    assert given["transformer_options"]["patches_replace"]["dit"] == {("double_block", 1): patched_block}


@pytest.fixture(scope="module")
def inverted(pack, tiny_model, empty_prompt):
    """Reads a motion from a latent (1, 16, F, h, w) that is cut at `cuts`."""
    config = pack("fastvmt_core.config").AMFConfig(temporal_span=3, window=3, tile=(2, 2))

    def invert(latent, cuts, sigmas=(0.3,)):
        with torch.inference_mode():
            invert_motion = pack("nodes.host.inversion").invert_motion
            return invert_motion(tiny_model, latent, empty_prompt, config, (1, BLOCK), sigmas, 0, cuts)

    return invert


def with_another_first_shot(latent):
    return torch.cat([noise(9, GRID)[:, :, :CUT], latent[:, :, CUT:]], dim=2)


def test_a_shot_is_read_by_itself(inverted):
    later = [min(pair) >= CUT for pair in inverted(noise(1, GRID), ()).flows[0].pairs]
    clips = noise(1, GRID), with_another_first_shot(noise(1, GRID))
    apart = [inverted(latent, (CUT,)).flows[0].displacement[later] for latent in clips]
    together = [inverted(latent, ()).flows[0].displacement[later] for latent in clips]
    # The same float32 operations on the same tokens.
    torch.testing.assert_close(*apart, atol=1e-5, rtol=0)
    assert float((together[0] - together[1]).abs().max()) > 1e-3


def test_a_cut_that_is_looked_for_is_read_as_one_that_is_known(pack, inverted, monkeypatch):
    monkeypatch.setattr(pack("nodes.host.inversion"), "find_cuts", lambda k, _: (CUT,) if len(k) == GRID[0] else ())
    found, known = (inverted(noise(1, GRID), cuts, (0.9, 0.3)) for cuts in ("detect", (CUT,)))
    assert found.cuts == known.cuts == (CUT,)
    for one, other in zip(found.flows, known.flows, strict=True):
        assert torch.equal(one.displacement, other.displacement)


def test_a_motion_that_is_read_again_is_read_as_before(pack, tiny_model, empty_prompt, inverted):
    motion = inverted(noise(1, GRID), (CUT,))
    with torch.inference_mode():
        again = pack("nodes.host.inversion").read_again(tiny_model, motion, empty_prompt)
    assert again.cuts == (CUT,)
    # There and back through the model's latent format, in float32.
    torch.testing.assert_close(again.flows[0].displacement, motion.flows[0].displacement, atol=1e-3, rtol=0)


def sampled(pack, tiny_model, prompt, motion, latent, end_percent):
    import comfy.k_diffusion.sampling

    core = pack("fastvmt_core.config")
    config = core.GuidanceConfig(inner_steps=1, lr_start=0.01, lr_end=0.01, end_percent=end_percent)
    guided = pack("nodes.host.sampling").apply_motion(tiny_model, motion, core.LossWeights(), config, None)
    return run_sampler(guided, prompt, comfy.k_diffusion.sampling.sample_euler, latent, [1.0, 0.9, 0.8, 0.0])


@pytest.mark.parametrize("tokens", [4, GRID[0] * GRID[1] * GRID[2]], ids=["", "a prompt as long as the clip"])
def test_a_guided_shot_does_not_see_the_other(pack, tiny_model, inverted, tokens):
    prompt = [[torch.randn(1, tokens, 4096, generator=torch.Generator().manual_seed(7)), {}]]
    motion = inverted(noise(1, GRID), (CUT,))
    clips = noise(2, GRID), with_another_first_shot(noise(2, GRID))

    def differs(end_percent, **changes):
        changed = dataclasses.replace(motion, **changes)
        first, then = (sampled(pack, tiny_model, prompt, changed, clip, end_percent)[:, :, CUT:] for clip in clips)
        return float((first - then).abs().max())

    # Rounding may turn the sign of a gradient near 0, of which AdamW makes a whole step: twice .01, three times.
    assert differs(1.0) < 0.1
    assert differs(1.0, cuts=()) > 1
    # Once guidance is over, the shots are drawn together.
    assert differs(0.05) > 0.3


def test_a_prompt_as_long_as_the_clip_is_seen_whole(pack, tiny_model, inverted):
    """The order of a prompt's tokens means nothing to a cross-attention, unless it is cut like the clip."""
    text = torch.randn(1, GRID[0] * GRID[1] * GRID[2], 4096, generator=torch.Generator().manual_seed(7))
    motion = inverted(noise(1, GRID), (CUT,))
    made = [
        sampled(pack, tiny_model, [[words, {}]], motion, noise(2, GRID), 1.0) for words in (text, text.flip(1).clone())
    ]
    assert float((made[0] - made[1]).abs().max()) < 0.1
