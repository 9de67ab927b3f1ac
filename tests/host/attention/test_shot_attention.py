"""Shots of a clip with a cut are read and drawn apart: neither looks at the other while the motion is guided."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from tests.host.runs import captured_qk, noise, run_sampler
from tools.host.made_models import wan_weights

GRID = (5, 4, 4)
CUT = 3
BLOCK = 3


def attention(q, k, v, heads, mask=None):
    split = [tokens.unflatten(-1, (heads, -1)).transpose(1, 2) for tokens in (q, k, v)]
    return torch.nn.functional.scaled_dot_product_attention(*split, attn_mask=mask).transpose(1, 2).flatten(2)


def qkv(tokens, batch=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, tokens, 8, generator=generator) for _ in range(3)]


@pytest.mark.parametrize(("before", "after"), [(0, 0), (6, 0), (0, 6), (3, 4)])
def test_each_shot_sees_itself_and_the_references(pack, before, after):
    grid = pack("fastvmt_core.grid").TokenGrid(4, 2, 3)
    token_shots = pack("nodes.host.attention.shots").TokenShots(grid, (1, 3), before)
    # 0 for a reference, which all see and which sees all, else the token's shot.
    shot = torch.tensor([0] * before + [1] * 6 + [2] * 12 + [3] * 6 + [0] * after)
    seen = (shot[:, None] == shot) | (shot[:, None] == 0) | (shot == 0)
    q, k, v = qkv(len(shot))
    masked = attention(q, k, v, 2, seen)
    # Float32 of order 1.
    torch.testing.assert_close(token_shots.attend(attention, q, k, v, heads=2), masked, atol=1e-5, rtol=0)


def test_a_forward_that_hangs_on_a_block_keeps_its_own_arguments(pack, comfyui):
    blocks, grid = pack("nodes.host.attention.blocks"), pack("fastvmt_core.grid").TokenGrid(*GRID)
    calls, warnings, tokens, options = [], [], object(), {"sigmas": 1}
    module = SimpleNamespace(forward=lambda hidden, *others, **kwargs: calls.append((hidden, others, kwargs)))
    shots = pack("nodes.host.attention.shots").TokenShots(grid, (CUT,), 0)
    forward = blocks.Confined(shots, warnings.append).forward(module)
    forward(tokens, 3, mask=4, transformer_options=options)
    (hidden, others, kwargs) = calls.pop()
    assert hidden is tokens and others == (3,) and kwargs["mask"] == 4 and not warnings
    assert kwargs["transformer_options"].keys() == {"sigmas", "optimized_attention_override"} and len(options) == 1
    # Without options there is nowhere to say it.
    forward(tokens, mask=4)
    assert calls == [(tokens, (), {"mask": 4})] and "drawn together" in warnings[0]


@pytest.mark.parametrize("kind", ["from the end", "heads apart", "masked keys"])
def test_shots_are_found_however_a_model_lays_out_its_tokens(pack, kind):
    grid = pack("fastvmt_core.grid").TokenGrid(4, 2, 3)
    token_shots = pack("nodes.host.attention.shots").TokenShots
    q, k, v = qkv(29)
    shot = torch.tensor([0] * 5 + [1] * 12 + [2] * 12)
    seen = (shot[:, None] == shot) | (shot[:, None] == 0) | (shot == 0)
    if kind == "masked keys":
        padding = torch.ones(1, 1, 1, 29, dtype=torch.bool)
        padding[..., 3:5] = False
        found = token_shots(grid, (2,), 5).attend(attention, q, k, v, heads=2, mask=padding)
        seen = seen & padding
    elif kind == "from the end":
        found = token_shots(grid, (2,), -24).attend(attention, q, k, v, heads=2)
    else:
        apart = [tokens.unflatten(-1, (2, -1)).transpose(1, 2) for tokens in (q, k, v)]
        found = token_shots(grid, (2,), 5).attend(torch.nn.functional.scaled_dot_product_attention, *apart)
        found = found.transpose(1, 2).flatten(2)
    # Float32 of order 1.
    torch.testing.assert_close(found, attention(q, k, v, 2, seen), atol=1e-5, rtol=0)


def test_other_tokens_than_the_clips_are_compared_as_ever(pack):
    grid = pack("fastvmt_core.grid").TokenGrid(4, 2, 3)
    token_shots = pack("nodes.host.attention.shots").TokenShots(grid, (2,), 0)
    (q, k, v), (_, few_keys, few_values) = qkv(24), qkv(10)
    mask = torch.ones(24, 24, dtype=torch.bool).tril()
    for tokens, how in (((q, few_keys, few_values), {}), (qkv(10), {}), ((q, k, v), {"mask": mask})):
        assert torch.equal(token_shots.attend(attention, *tokens, heads=2, **how), attention(*tokens, heads=2, **how))


class Block:
    """As the host's: a self-attention, then a cross-attention to as many tokens; keeps what both gave."""

    def __init__(self):
        self.gave = []

    def __call__(self, args):
        override = args.get("transformer_options", {}).get("optimized_attention_override", hosts_own)
        self.gave += [override(attention, *qkv(24), heads=2) for _ in range(2)]
        return {"img": args["img"]}


def hosts_own(function, *tokens, **how):
    return function(*tokens, **how)


@pytest.fixture
def shots_of_24(pack):
    """(options within two shots of 24 tokens, what a shot's own attention gives); `warned` gets the warnings."""
    blocks, grid = pack("nodes.host.attention.blocks"), pack("fastvmt_core.grid").TokenGrid(4, 2, 3)
    token_shots = pack("nodes.host.attention.shots").TokenShots(grid, (2,), 0)
    one = pack("nodes.host.models.family").Block(torch.nn.Identity(), ("x",), ("double_block", 0))

    def within(options, warned):
        return blocks.within_shots({"transformer_options": options}, token_shots, [one], warned.append)[
            "transformer_options"
        ]

    return within, token_shots.attend(attention, *qkv(24), heads=2)


def run_block(options, block, **args):
    options["patches_replace"]["dit"]["double_block", 0](
        {"img": None, "transformer_options": options, **args}, {"original_block": block}
    )


def test_the_attention_that_another_node_chose_stays(shots_of_24):
    within, own = shots_of_24
    lengths = []

    def chosen(function, q, k, v, heads):
        lengths.append((q.shape[1], k.shape[1]))
        return 2 * function(q, k, v, heads)

    block = Block()
    run_block(within({"optimized_attention_override": chosen}, []), block)
    assert lengths == [(12, 12), (12, 12), (24, 24)]
    assert torch.equal(block.gave[0], 2 * own)
    assert torch.equal(block.gave[1], 2 * attention(*qkv(24), heads=2))


def test_a_block_that_another_node_patched_looks_within_shots_each_time_it_is_run(shots_of_24):
    within, own = shots_of_24
    calls = []

    def patched(args, extra):
        def noted(function, *tokens, **how):
            calls.append(tokens[0].shape[1])
            return function(*tokens, **how)

        options = {**args["transformer_options"], "optimized_attention_override": noted}
        extra["original_block"](args)
        return extra["original_block"]({**args, "transformer_options": options})

    given, block = {"patches_replace": {"dit": {("double_block", 0): patched}}}, Block()
    run_block(within(given, []), block)
    assert calls == [12, 12, 24]
    for found, expected in zip(block.gave, [own, attention(*qkv(24), heads=2)] * 2, strict=True):
        assert torch.equal(found, expected)
    assert given == {"patches_replace": {"dit": {("double_block", 0): patched}}}


def test_a_cache_that_keeps_the_options_to_itself_draws_the_shots_together_and_says_so(shots_of_24):
    within, _ = shots_of_24
    warned, block = [], Block()
    options = within({}, warned)
    options["patches_replace"]["dit"]["double_block", 0]({"img": None}, {"original_block": block})
    assert torch.equal(block.gave[0], attention(*qkv(24), heads=2))
    assert len(warned) == 1 and "drawn together" in warned[0]


@pytest.fixture(scope="module")
def inverted(pack, tiny_model, empty_prompt):
    """Reads a motion from a latent (1, 16, F, h, w) that is cut at `cuts`."""
    config = pack("fastvmt_core.config").AMFConfig(temporal_span=3, window=3, tile=(2, 2))

    def invert(latent, cuts, sigmas=(0.3,)):
        with torch.inference_mode():
            invert_motion = pack("nodes.host.reading.inversion").invert_motion
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
    monkeypatch.setattr(
        pack("nodes.host.reading.inversion"), "find_cuts", lambda k, _: (CUT,) if len(k) == GRID[0] else ()
    )
    found, known = (inverted(noise(1, GRID), cuts, (0.9, 0.3)) for cuts in ("detect", (CUT,)))
    assert found.cuts == known.cuts == (CUT,)
    for one, other in zip(found.flows, known.flows, strict=True):
        assert torch.equal(one.displacement, other.displacement)


def test_a_motion_that_is_read_again_is_read_as_before(pack, tiny_model, empty_prompt, inverted):
    motion = inverted(noise(1, GRID), (CUT,))
    with torch.inference_mode():
        again = pack("nodes.host.reading.inversion").read_again(tiny_model, motion, empty_prompt)
    assert again.cuts == (CUT,)
    # There and back through the model's latent format, in float32.
    torch.testing.assert_close(again.flows[0].displacement, motion.flows[0].displacement, atol=1e-3, rtol=0)


def sampled(pack, model, prompts, motion, latent, end_percent=1.0):
    """Three Euler steps; `prompts` are the positive and the negative one."""
    import comfy.k_diffusion.sampling

    core = pack("fastvmt_core.config")
    config = core.GuidanceConfig(inner_steps=1, lr_start=0.01, lr_end=0.01, end_percent=end_percent)
    guided = pack("nodes.host.sampling.wrapper").apply_motion(model, motion, core.LossWeights(), config, None)
    positive, negative = prompts
    function = comfy.k_diffusion.sampling.sample_euler
    return run_sampler(guided, positive, function, latent, [1.0, 0.9, 0.8, 0.0], negative)


def worded(tokens, **pictures):
    return [[torch.randn(1, tokens, 4096, generator=torch.Generator().manual_seed(7)), pictures]]


def seen_of_the_other(sample, latent):
    """The largest change of the second shot's video when another first shot is put before it; values are of order 1.

    It is exactly 0 or rounding, 1e-5, where nothing is seen.
    """
    first, then = (sample(clip)[:, :, CUT:] for clip in (latent, with_another_first_shot(latent)))
    return float((first - then).abs().max())


UNSEEN, SEEN = 1e-3, 0.1


@pytest.mark.parametrize("tokens", [4, GRID[0] * GRID[1] * GRID[2]], ids=["", "a prompt as long as the clip"])
def test_a_guided_shot_does_not_see_the_other(pack, tiny_model, inverted, tokens):
    prompts = worded(tokens), worded(4)
    motion = inverted(noise(1, GRID), (CUT,))

    def seen(motion, end_percent):
        return seen_of_the_other(
            lambda clip: sampled(pack, tiny_model, prompts, motion, clip, end_percent), noise(2, GRID)
        )

    assert seen(motion, 1.0) < UNSEEN
    assert seen(dataclasses.replace(motion, cuts=()), 1.0) > SEEN
    # Once guidance is over, the shots are drawn together.
    assert seen(motion, 0.05) > SEEN


def test_a_prompt_as_long_as_the_clip_is_seen_whole(pack, tiny_model, inverted):
    """The order of a prompt's tokens means nothing to a cross-attention, unless it is cut like the clip."""
    motion, text = inverted(noise(1, GRID), (CUT,)), worded(GRID[0] * GRID[1] * GRID[2])
    turned = [[text[0][0].flip(1).clone(), {}]]
    made = [sampled(pack, tiny_model, (words, worded(4)), motion, noise(2, GRID)) for words in (text, turned)]
    assert float((made[0] - made[1]).abs().max()) < UNSEEN


def test_each_clip_of_a_batch_is_parted(pack, tiny_model, inverted):
    motion, prompts = inverted(noise(1, GRID), (CUT,)), (worded(4), worded(4))
    both = torch.cat([noise(2, GRID), with_another_first_shot(noise(2, GRID))])
    one, other = sampled(pack, tiny_model, prompts, motion, both)[:, :, CUT:]
    assert float((one - other).abs().max()) < UNSEEN


def test_a_recomputed_pass_within_shots_has_the_same_gradient(pack, tiny_model, prompt):
    scope = pack("nodes.host.gradient.scope").gradient_scope
    grid, plan = pack("fastvmt_core.grid").TokenGrid(*GRID), pack("fastvmt_core.budget.memory").MemoryPlan
    found = []

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        with scope(model.inner_model.inner_model.diffusion_model):
            for recomputed in (0, BLOCK):
                point = x.clone().requires_grad_(True)
                read = (model, point, sigmas[:1].clone(), extra_args, (1, BLOCK), grid, plan(recomputed, False))
                q, k = captured_qk(pack, *read, cuts=(CUT,))
                loss = q[:, CUT:].square().sum() + (k[:, CUT:] * q[:, CUT:].detach()).sum()
                found.append(torch.autograd.grad(loss, point)[0])
        return x

    run_sampler(tiny_model, prompt, sampler, noise(2, GRID), [0.9, 0.5])
    kept, again = found
    assert float(kept[:, :, :CUT].abs().max()) == 0 < float(kept[:, :, CUT:].abs().max())
    torch.testing.assert_close(again, kept, rtol=1e-4, atol=1e-5 * float(kept.abs().max()))


@pytest.fixture(scope="module")
def another_wan(pack, empty_prompt):
    """(model, motion cut at CUT) of another kind of Wan, with random weights."""
    import comfy.sd

    def load(kind):
        config = pack("fastvmt_core.config").AMFConfig(temporal_span=3, window=3, tile=(2, 2))
        with torch.inference_mode():
            model = comfy.sd.load_diffusion_model_state_dict(wan_weights(kind))
            read = pack("nodes.host.reading.inversion").invert_motion
            return model, read(model, noise(1, GRID), empty_prompt, config, (BLOCK,), (0.3,), 0, (CUT,))

    return load


def latent_of(frames):
    with torch.inference_mode():
        return torch.randn(1, 16, frames, 8, 8, generator=torch.Generator().manual_seed(4))


def test_a_start_image_reaches_every_shot(pack, another_wan):
    model, motion = another_wan("wan22_i2v")
    prompt = worded(4, concat_latent_image=latent_of(GRID[0]), concat_mask=torch.ones(1, 1, GRID[0], 8, 8))
    seen = seen_of_the_other(lambda clip: sampled(pack, model, (prompt, prompt), motion, clip), noise(2, GRID))
    assert seen > SEEN


def test_reference_frames_are_seen_by_both_shots(pack, another_wan, caplog):
    """Of Fun-Control, before the clip's tokens. What they see of one shot the other sees in them, but that is less."""
    model, motion = another_wan("fun_control")
    pictured, plain = worded(4, reference_latents=[latent_of(1)]), worded(4)

    def seen(*prompts, **changes):
        changed = dataclasses.replace(motion, **changes)
        return seen_of_the_other(lambda clip: sampled(pack, model, prompts, changed, clip), noise(2, GRID))

    together = seen(pictured, pictured, cuts=())
    assert seen(plain, plain) < UNSEEN
    assert seen(pictured, pictured) < together / 2
    assert "drawn together" not in caplog.text
    assert seen(pictured, plain) > together / 2
    assert caplog.text.count("drawn together") == 2
