"""Families beside Wan on the host's own classes: read, differentiated, guided, estimated and refused."""

import dataclasses

import pytest
import torch

from tests.core.video.allocations import allocated_at_most
from tests.host.runs import captured_qk, run_sampler
from tools.host import made_families
from tools.host.made_families import KINDS

GRID = (3, 4, 4)
SIGMAS = [0.9, 0.5]
BLOCKS = dict.fromkeys(KINDS, 3)
"""The last of four; of Hunyuan 1.0 a block of one stream."""
TEXT_APART = ("ltxv", "ltx2", "ltx23", "predict2", "cosmos", "kandinsky5")
"""Kinds whose self-attention compares no tokens of the text."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(comfyui, kind):
    """As the loader node makes it, inference tensors throughout."""
    if not made_families.has_kind(kind):
        pytest.skip(f"this host has no {kind}")
    return loaded(kind)


def loaded(kind, weights=None, **how):
    with torch.inference_mode():
        return made_families.loaded(kind, weights, **how)


def inside_a_step(pack, kind, model, then, x=None, prompt=None, **run):
    """Call then(point, qk) where a guided step would stand; qk(blocks, recomputed, point) captures from the point.

    `run` goes to `run_sampler`.
    """
    grid, plan = pack("fastvmt_core.grid").TokenGrid(*GRID), pack("fastvmt_core.budget.memory").MemoryPlan

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        def qk(blocks, recomputed, point):
            # The smallest plan puts the streams away as well.
            chosen = plan(recomputed, offloaded=recomputed > 1)
            # As a guided step does: the inpaint mask multiplies the latent.
            ordinary = {key: value.clone() if torch.is_tensor(value) else value for key, value in extra_args.items()}
            return captured_qk(pack, wrapped, point, sigmas[:1].clone(), ordinary, blocks, grid, chosen)

        with pack("nodes.host.gradient.scope").gradient_scope(wrapped.inner_model.inner_model.diffusion_model):
            then(x.clone().requires_grad_(True), qk)
        return x

    run_with(sampler, model, kind, x, prompt, **run)


def run_with(sampler, model, kind, x=None, prompt=None, **run):
    """Two steps by that sampler."""
    x = made_families.latent(kind, GRID) if x is None else x
    run_sampler(model, prompt or made_families.prompt(kind), sampler, x, made_families.sigmas(kind, SIGMAS), **run)


def loss_of(q, k):
    return (q * k).mean(dim=(-1, -2)).square().sum()


def agreement(point, qk, blocks, recomputed):
    """(cosine, ratio along the gradient) of the gradient and finite differences."""
    (gradient,) = torch.autograd.grad(loss_of(*qk(blocks, recomputed, point)), point)
    generator = torch.Generator().manual_seed(3)
    directions = [gradient / gradient.norm()]
    directions += [d / d.norm() for d in torch.randn(8, *point.shape, generator=generator)]
    measured, predicted, step = [], [], 1e-2
    with torch.no_grad():
        for direction in directions:
            ahead, behind = (loss_of(*qk(blocks, 0, point + s * step * direction)) for s in (1, -1))
            measured.append((ahead - behind) / (2 * step))
            predicted.append((gradient * direction).sum())
    measured, predicted = torch.stack(measured), torch.stack(predicted)
    return torch.nn.functional.cosine_similarity(measured, predicted, dim=0), measured[0] / predicted[0]


@pytest.mark.parametrize("recomputed", [0, 1, 3])
def test_the_gradient_is_that_of_finite_differences(pack, kind, model, recomputed):
    found = []
    inside_a_step(
        pack, kind, model, lambda point, qk: found.extend(agreement(point, qk, (1, BLOCKS[kind]), recomputed))
    )
    cosine, ratio = found
    assert cosine >= 0.999
    assert ratio == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("block", range(4))
def test_a_token_of_the_latent_is_found_at_its_place(pack, kind, model, block):
    """One token is changed: nothing else of the first block's q and k changes, and most of the later ones' there."""
    side, places = KINDS[kind].scale[0], [(0, 0, 0), (2, 3, 3), (1, 2, 1)]

    def compare(point, qk):
        with torch.no_grad():
            before = qk((block,), 0, point)
            for frame, row, column in places:
                changed = point.detach().clone()
                rows, columns = (slice(side * at, side * (at + 1)) for at in (row, column))
                changed[:, :, frame, rows, columns] = -2 * changed[:, :, frame, rows, columns]
                for old, new in zip(before, qk((block,), 0, changed), strict=True):
                    difference = (new - old).square().sum((0, -1, -2))
                    assert difference.argmax() == (frame * GRID[1] + row) * GRID[2] + column
                    if block == 0:
                        assert int((difference > 0).sum()) == 1

    inside_a_step(pack, kind, model, compare)


@pytest.mark.parametrize("recomputed", [0, 3])
def test_the_memory_of_a_gradient_is_that_of_the_estimate(pack, kind, model, recomputed):
    grid, found = (3, 16, 16), {}
    tokens, plan = pack("fastvmt_core.grid").TokenGrid(*grid), pack("fastvmt_core.budget.memory").MemoryPlan

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        chosen = plan(recomputed, False)
        sizes = pack("nodes.host.gradient.memory").sizes_of(wrapped.inner_model, 1, tokens, BLOCKS[kind])
        with pack("nodes.host.gradient.scope").gradient_scope(wrapped.inner_model.inner_model.diffusion_model):
            point, blocks = x.clone().requires_grad_(True), (BLOCKS[kind],)

            def gradient():
                q, k = captured_qk(pack, wrapped, point, sigmas[:1].clone(), extra_args, blocks, tokens, chosen)
                torch.autograd.grad((q * k).sum(), point)

            found["ratio"] = sizes.needed(chosen) / allocated_at_most(gradient)
        return x

    run_with(sampler, model, kind, made_families.latent(kind, grid))
    assert 0.8 <= found["ratio"] <= 1.2


def motion_of(pack, kind, model, block=None, grid=GRID):
    config = pack("fastvmt_core.config").AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    block = BLOCKS[kind] if block is None else block
    with torch.inference_mode():
        return pack("nodes.host.reading.inversion").invert_motion(
            model, made_families.latent(kind, grid), made_families.prompt(kind), config, (block,), (0.3,), 5, "ignore"
        )


def guided(pack, kind, model, motion, **changes):
    """(The latent after two steps, of which the first is guided; the gradients' losses)."""
    import comfy.k_diffusion.sampling

    core, losses = pack("fastvmt_core.config"), []

    def note(event, data):
        if event == "guided_step":
            losses.extend(data["losses"])

    how = {"inner_steps": 3, "gradient_interval": 1, "lr_start": 0.02, "lr_end": 0.02, "end_percent": 0.1, **changes}
    following = pack("nodes.host.sampling.wrapper").apply_motion(
        model, motion, core.LossWeights(), core.GuidanceConfig(**how), None, note
    )
    x = made_families.latent(kind, motion.grid.as_tuple, seed=2)
    prompt, sigmas = made_families.prompt(kind), made_families.sigmas(kind, [1.0, 0.5])
    sampled = run_sampler(following, prompt, comfy.k_diffusion.sampling.sample_euler, x, sigmas)
    return sampled, losses


@pytest.mark.parametrize("memory", ["fastest", "smallest"])
def test_a_motion_is_read_saved_loaded_and_followed(pack, kind, model, tmp_path, memory):
    motion = motion_of(pack, kind, model)
    motion.save(tmp_path / "motion.safetensors")
    motion = type(motion).load(tmp_path / "motion.safetensors")
    assert motion.grid.as_tuple == GRID and len(motion.half_displacement) == 0
    pixels = KINDS[kind].scale[0] * KINDS[kind].scale[1]
    assert motion.fingerprint.pixels_per_token == pixels and motion.fingerprint.temporal_stride == KINDS[kind].stride
    latent, losses = guided(pack, kind, model, motion, memory=memory)
    assert bool(torch.isfinite(latent).all()) and losses[-1] < losses[0]


def test_shots_are_kept_apart_and_other_patches_stay(pack, kind, model):
    motion, runs, patched = motion_of(pack, kind, model), [], model.clone()
    patches = {block.patch for block in pack("nodes.host.models.video_model").VideoModel.of(model).blocks()} - {None}
    for name in patches:

        def patch(args, extra, name=name):
            runs.append(name)
            return extra["original_block"](args)

        patched.set_model_patch_replace(patch, "dit", *name)
    plain, losses = guided(pack, kind, model, motion)
    beside, same_losses = guided(pack, kind, patched, motion)
    assert torch.equal(plain, beside) and losses == same_losses and set(runs) == patches
    parted, _ = guided(pack, kind, model, dataclasses.replace(motion, cuts=(1,)))
    assert not torch.equal(parted, plain) and bool(torch.isfinite(parted).all())


@pytest.mark.parametrize("block", [1, 3])
def test_a_shot_sees_little_of_another(pack, kind, model, block):
    """Nothing where the text stands apart; where it is in the same attention, what the text has seen of the other."""
    grid, seen = pack("fastvmt_core.grid").TokenGrid(*GRID), {}

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        other = x.clone()
        other[:, :, 2] *= -1
        with pack("nodes.host.gradient.scope").gradient_scope(wrapped.inner_model.inner_model.diffusion_model):
            for cuts in ((), (1,)):
                q, changed = (
                    captured_qk(pack, wrapped, each, sigmas[:1].clone(), extra_args, (block,), grid, cuts=cuts)[0]
                    for each in (x.clone(), other)
                )
                seen[cuts] = float((q - changed)[:, :1].abs().mean())
        return x

    run_with(sampler, model, kind)
    assert seen[(1,)] <= (0 if kind in TEXT_APART or block == 1 else 0.5 * seen[()]) < seen[()]


def test_a_shot_is_denoised_without_another(pack, kind, model):
    """Nothing of it is seen where the text stands apart; else what the text has seen of it."""
    grid, seen, calls = pack("fastvmt_core.grid").TokenGrid(*GRID), {}, {(): 0, (1,): 0}
    predicted = pack("nodes.host.attention.signals").predicted_velocity

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        for cuts in calls:

            def attention(function, *args, cuts=cuts, **kwargs):
                calls[cuts] += 1
                return function(*args, **kwargs)

            extra_args["model_options"]["transformer_options"]["optimized_attention_override"] = attention
            other = x.clone()
            other[:, :, 2] *= -1
            both = (predicted(wrapped, each, sigmas[:1].clone(), extra_args, grid, cuts) for each in (x, other))
            seen[cuts] = float(torch.sub(*both)[:, :, :1].abs().mean())
        return x

    run_with(sampler, model, kind)
    assert seen[(1,)] <= (0 if kind in TEXT_APART else 0.5 * seen[()]) < seen[()]
    # By the attention that the user chose: once a shot.
    assert calls[(1,)] > calls[()] > 0


def test_the_model_is_left_as_it_was(pack, kind, model):
    network = model.model.diffusion_model
    before = dict(network.named_parameters())
    guided(pack, kind, model, motion_of(pack, kind, model))
    assert all(tensor is before[name] for name, tensor in network.named_parameters())
    assert not any("forward" in vars(module) for module in network.modules())


def test_half_the_resolution_follows_too(pack, kind, model):
    """A grid of half size is large enough from 8 tokens a side."""
    motion = motion_of(pack, kind, model, 1, (2, 8, 8))
    (latent, losses), (at_full_size, _) = (
        guided(pack, kind, model, motion, resolution=resolution) for resolution in ("half", "full")
    )
    assert bool(torch.isfinite(latent).all()) and losses[-1] < losses[0]
    assert not torch.equal(latent, at_full_size)


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("precision", ["fp8", "bf16"])
def test_weights_in_fewer_bits_and_a_lora_are_guided(pack, kind, precision):
    import comfy.sd

    dtype = {"fp8": torch.float8_e4m3fn, "bf16": torch.bfloat16}[precision]
    model = loaded(kind, model_options={"dtype": dtype})
    with torch.inference_mode():
        model, _ = comfy.sd.load_lora_for_models(model, None, made_families.lora(kind), 1.0, 0.0)
    assert len(model.patches) == 4
    motion = motion_of(pack, kind, model)
    latent, losses = guided(pack, kind, model, motion, memory="smallest")
    assert bool(torch.isfinite(latent).all()) and losses[-1] < losses[0]


class MadeVae:
    """The shape of a family's latents, and what is in the frames: colours, averaged and mixed into channels."""

    latent_dim = 3

    def __init__(self, kind):
        self.latent_channels = KINDS[kind].latent_channels
        self.side, self.stride = KINDS[kind].scale[1], KINDS[kind].stride
        generator = torch.Generator().manual_seed(3)
        self.mixed = torch.randn(self.latent_channels, 3, generator=generator)

    def temporal_compression_decode(self):
        return self.stride

    def encode(self, frames):
        grouped = torch.stack([frames[0], *frames[1:].unflatten(0, (-1, self.stride)).mean(1)])
        small = torch.nn.functional.avg_pool2d(grouped.movedim(-1, 1), self.side)
        return torch.einsum("kc,fchw->kfhw", self.mixed, 2 * small - 1)[None]


def test_find_block_measures_every_block_and_proposes_one(pack, kind, model):
    probes, stride = pack("fastvmt_core.metrics.probes"), MadeVae(kind).stride
    side = 4 * KINDS[kind].scale[0] * KINDS[kind].scale[1]
    assert pack("nodes.host.files.vae").temporal_stride(MadeVae(kind)) == stride
    with torch.inference_mode():
        clips = probes.sprite_clips(side, side, 2 * stride + 1, 0)
        survey = pack("nodes.host.reading.survey").survey_blocks(
            model, MadeVae(kind), made_families.prompt(kind), clips, range(4), (0.3,), 0
        )
    assert survey.blocks == (0, 1, 2, 3) and len(survey.ratios[0]) == 4
    assert all(ratio > 0 for ratio in survey.ratios[0])
    assert survey.proposal is None or survey.proposal.block in survey.blocks


def test_a_motion_of_another_family_is_refused(pack, kind, model, tiny_model, empty_prompt):
    motion = motion_of(pack, kind, model)
    core = pack("fastvmt_core.config")
    with pytest.raises(ValueError, match=f"model_class {type(model.model.diffusion_model).__name__}"):
        pack("nodes.host.sampling.wrapper").apply_motion(
            tiny_model, motion, core.LossWeights(), core.GuidanceConfig(), None
        )


def test_a_latent_of_another_model_is_refused(pack, kind, model):
    with pytest.raises(ValueError, match=r"reference: expected a video latent \(batch, "), torch.inference_mode():
        pack("nodes.host.reading.inversion").invert_motion(
            model,
            torch.zeros(1, 5, 3, 8, 8),
            made_families.prompt(kind),
            pack("fastvmt_core.config").AMFConfig(),
            (1,),
            (0.3,),
            0,
            "ignore",
        )
