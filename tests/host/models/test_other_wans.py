"""Wans with more than a grid of tokens: VACE's side blocks, and reference frames before or after the grid."""

import functools
from types import SimpleNamespace

import pytest
import torch
from einops import rearrange

from tests.host.attention.test_foreign_attention import self_forward
from tests.host.runs import captured_qk, loaded, noise, run_sampler
from tools.host.made_models import has_kind

GRID = (2, 4, 4)
BLOCK = 3
SIGMAS = [0.9, 0.5]


def inside_a_step(pack, model, prompt, then, before=lambda guider: None, references=0):
    """Call then(network, point, qk) where a guided step would stand; qk(recomputed) captures from the point.

    `before` is given the guider, first. `references` of the latent's first frames are none of the video's.
    """
    scopes = pack("nodes.host.gradient.scope")
    grid, plan = pack("fastvmt_core.grid").TokenGrid(*GRID), pack("fastvmt_core.budget.memory").MemoryPlan

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        network = wrapped.inner_model.inner_model.diffusion_model

        def qk(recomputed=0, point=None, block=BLOCK):
            chosen = plan(recomputed, offloaded=recomputed == BLOCK)
            return captured_qk(pack, wrapped, point, sigmas[:1].clone(), extra_args, (block,), grid, chosen)

        before(wrapped.inner_model)
        with scopes.gradient_scope(network, patches=scopes.patches_of(extra_args["model_options"])):
            then(network, x.clone().requires_grad_(True), qk)
        return x

    run_sampler(model, prompt, sampler, noise(1, (GRID[0] + references, *GRID[1:])), SIGMAS)


@pytest.fixture(scope="module")
def vace(comfyui):
    return loaded("vace")


def with_control(prompt):
    """The prompt with a control clip, as VACE's node makes it."""
    with torch.inference_mode():
        frames = torch.randn(1, 32, GRID[0], 8, 8, generator=torch.Generator().manual_seed(3))
        extra = {"vace_frames": [frames], "vace_mask": [torch.ones(1, 64, GRID[0], 8, 8)], "vace_strength": [0.8]}
        return [[prompt[0][0], extra]]


def test_vaces_side_blocks_are_recomputed_with_the_same_gradient(pack, vace, prompt):
    def compare(network, point, qk):
        calls = []
        handles = [
            block.self_attn.register_forward_pre_hook(lambda *_, n=number: calls.append(n))
            for number, block in enumerate(network.vace_blocks)
        ]
        found = {}
        for recomputed in (0, 1, BLOCK):
            calls.clear()
            q, k = qk(recomputed, point)
            assert not any("forward" in vars(block) for block in network.vace_blocks)
            (gradient,) = torch.autograd.grad(q.square().sum() + (k * q.detach()).sum(), point)
            found[recomputed] = gradient, sorted(calls)
        for handle in handles:
            handle.remove()
        # Side blocks 0 and 1 stand beside blocks 0 and 2 of four.
        assert [calls for _, calls in found.values()] == [[0, 1], [0, 0, 1], [0, 0, 1, 1]]
        for gradient, _ in found.values():
            assert torch.allclose(gradient, found[0][0], rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))

    inside_a_step(pack, vace, with_control(prompt), compare)


def with_foreign_attention(vace):
    """The model with another node's attention on its side blocks, which has no backward."""
    patched = vace.clone()
    for index, block in enumerate(vace.model.diffusion_model.vace_blocks):
        forward = functools.partial(self_forward, block.self_attn)
        patched.add_object_patch(f"diffusion_model.vace_blocks.{index}.self_attn.forward", forward)
    return patched


@pytest.mark.parametrize("recomputed", [0, BLOCK], ids=["kept", "recomputed"])
def test_vaces_gradient_is_that_of_finite_differences(pack, vace, prompt, recomputed):
    agrees_with_finite_differences(pack, vace, with_control(prompt), recomputed)


def agrees_with_finite_differences(pack, model, prompt, recomputed, references=0):
    """Check the gradient of a loss of q and k against differences of it, in nine directions."""
    found = {}

    def compare(network, point, qk):
        def loss_of(q, k):
            return (q * k).mean(dim=(-1, -2)).square().sum()

        (gradient,) = torch.autograd.grad(loss_of(*qk(recomputed, point)), point)
        generator = torch.Generator().manual_seed(3)
        directions = [gradient / gradient.norm()]
        directions += [d / d.norm() for d in torch.randn(8, *point.shape, generator=generator)]
        measured, predicted, step = [], [], 1e-2
        with torch.no_grad():
            for direction in directions:
                ahead, behind = (loss_of(*qk(0, point + s * step * direction)) for s in (1, -1))
                measured.append((ahead - behind) / (2 * step))
                predicted.append((gradient * direction).sum())
        measured, predicted = torch.stack(measured), torch.stack(predicted)
        found["cosine"] = torch.nn.functional.cosine_similarity(measured, predicted, dim=0)
        found["ratio"] = measured[0] / predicted[0]

    inside_a_step(pack, model, prompt, compare, references=references)
    assert found["cosine"] >= 0.999
    assert found["ratio"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("recomputed", [0, BLOCK], ids=["kept", "recomputed"])
def test_vaces_gradient_is_the_same_beside_a_foreign_attention(pack, vace, prompt, recomputed):
    gradients = []

    def evaluate(network, point, qk):
        q, k = qk(recomputed, point)
        gradients.append(torch.autograd.grad(q.square().sum() + (k * q.detach()).sum(), point)[0])

    for model in (vace, with_foreign_attention(vace)):
        inside_a_step(pack, model, with_control(prompt), evaluate)
    alone, beside = gradients
    # The same float32 operations.
    assert torch.allclose(alone, beside, rtol=1e-4, atol=1e-5 * float(alone.abs().max()))


def test_blocks_are_put_back_after_an_error(pack, vace, prompt):
    def fail(network, point, qk):
        handle = network.blocks[1].register_forward_pre_hook(raise_error)
        with pytest.raises(RuntimeError, match="in the middle"):
            qk(BLOCK, point)
        handle.remove()
        assert not any("forward" in vars(block) for block in (*network.vace_blocks, *network.blocks))

    def raise_error(*_):
        raise RuntimeError("in the middle of a block")

    inside_a_step(pack, vace, with_control(prompt), fail)


def made(*shape):
    with torch.inference_mode():
        return torch.randn(shape, generator=torch.Generator().manual_seed(4))


def reference_latent(frames=1):
    return made(1, 16, frames, 8, 8)


def relative(kind):
    """A Wan of that kind; Animate's convolutions over a face of 512 x 512 pixels give what they would give, made up."""
    if not has_kind(kind):
        pytest.skip(f"this host has no {kind}")
    model = loaded(kind)
    if kind == "animate":
        model.model.diffusion_model.motion_encoder.get_motion = lambda face: made(len(face), 512)
    return model


def of_animate():
    """Its reference frame is in the latent, which is a frame longer than the pose."""
    return {
        "concat_latent_image": reference_latent(3),
        "pose_video_latent": reference_latent(2),
        "face_video_pixels": made(1, 3, 1, 8, 8),
    }


def of_s2v():
    """Sound of eight video frames, and every latent that its node makes."""
    return {
        "audio_embed": made(1, 25, 1024, 8),
        "reference_latents": [reference_latent()],
        "reference_motion": reference_latent(3),
        "control_video": reference_latent(2),
    }


def of_music(fps=30.0):
    """Music, at the video's own frames a second or at those of keyframes."""
    music = {"audio_embed": made(1, 30, 35), "fps": fps, "audio_inject_scale": 1.0}
    return {**music, "concat_latent_image": reference_latent(2)}


def of_scail_2(replaces=False):
    """A pose and a reference with masks, both beside the video or before it."""
    return {
        "reference_latents": [reference_latent()],
        "pose_video_latent": reference_latent(2)[..., ::2, ::2],
        "ref_mask_28ch": made(1, 3, 28, 8, 8).sign().relu(),
        "driving_mask_28ch": made(1, 2, 28, 4, 4).sign().relu(),
        "ref_mask_flag": not replaces,
    }


def of_humo():
    return {"audio_embed": made(1, 2, 8, 5, 1280), "reference_latents": [reference_latent()]}


def of_camera():
    """Rays of each pixel, four frames of the video to one of the latent."""
    return {"camera_conditions": made(1, 24, 2, 64, 64), "concat_latent_image": reference_latent(2)}


def of_fun_22():
    images = made(1, 32, 2, 8, 8)
    return {"concat_latent_image": images, "concat_mask_index": 16, "reference_latents": [reference_latent()]}


@pytest.mark.parametrize(
    ("kind", "extra", "references", "first", "tokens"),
    [
        ("fun_control", lambda: {"reference_latents": [reference_latent()]}, 0, 16, 48),
        ("scail", lambda: {"reference_latents": [reference_latent()]}, 0, 16, 48),
        ("scail", lambda: {"reference_latents": [reference_latent(), reference_latent()]}, 0, 32, 64),
        # A pose of half the latent's resolution after the grid.
        ("scail", lambda: {"pose_video_latent": reference_latent(2)[..., ::2, ::2]}, 0, 0, 40),
        ("t2v", lambda: {"time_dim_concat": reference_latent(2)}, 0, 0, 64),
        # References of any size after the grid, each of them frames of tokens (Bernini).
        ("t2v", lambda: {"context_latents": [reference_latent(), reference_latent()[..., :4, :6]]}, 0, 0, 54),
        ("i2v", lambda: {"concat_latent_image": reference_latent(2)}, 0, 0, 32),
        ("wan22_i2v", lambda: {"concat_latent_image": reference_latent(2)}, 0, 0, 32),
        ("animate", of_animate, 1, 16, 48),
        ("camera", of_camera, 0, 0, 32),
        ("camera22", of_camera, 0, 0, 32),
        ("wan22_fun_control", of_fun_22, 0, 16, 48),
        # A reference frame, and a motion packed into one and a half.
        ("s2v", of_s2v, 0, 0, 72),
        ("wandancer", of_music, 0, 0, 32),
        ("wandancer", lambda: of_music(10.0), 0, 0, 32),
        ("scail2", of_scail_2, 0, 16, 56),
        ("scail2", lambda: of_scail_2(replaces=True), 0, 16, 56),
        ("humo", of_humo, 0, 0, 48),
        ("humo_17b", of_humo, 0, 0, 48),
    ],
)
def test_the_grid_is_found_among_other_tokens(pack, comfyui, prompt, kind, extra, references, first, tokens):
    from comfy.ldm.flux.math import apply_rope1

    model = relative(kind)

    def compare(network, point, qk):
        seen = []
        attention = network.blocks[BLOCK].self_attn
        handle = attention.register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
        q, k = qk(0, point)
        handle.remove()
        x, freqs = seen[0]
        assert x.shape[1] == tokens
        # The memory plan counts the same.
        assert seen_by_plan == [tokens]
        for found, linear, norm in ((q, attention.q, attention.norm_q), (k, attention.k, attention.norm_k)):
            own = apply_rope1(norm(linear(x)).view(1, tokens, attention.num_heads, attention.head_dim), freqs)
            frames, height, width = GRID
            on_grid = rearrange(own[:, first : first + 32], "b (f h w) n d -> b f h w n d", f=frames, h=height, w=width)
            # The same float32 operations.
            assert torch.allclose(found, on_grid, atol=1e-5)
        # The tokens of block 0 have seen no others: one that is changed is the same one of the video.
        changed = point.detach().clone()
        changed[:, :, references + 1, 4:6, 2:4] += 1
        for one, other in zip(qk(0, point, 0), qk(0, changed, 0), strict=True):
            differs = (one - other).detach().abs().amax((0, -1, -2)) > 1e-3
            assert differs.nonzero().tolist() == [[1, 2, 1]]

    def count(guider):
        conditions = models.positive_conditions(guider)
        if "context_latents" in given and "context_latents" not in conditions[0]["model_conds"]:
            pytest.skip("this host knows no context_latents")
        video = models.VideoModel.of_run(guider)
        assert video.leading_frames(conditions) == references
        grid = pack("fastvmt_core.grid").TokenGrid(GRID[0] + references, *GRID[1:])
        seen_by_plan.append(pack("nodes.host.gradient.memory").sizes_of(guider, 1, grid, BLOCK).tokens)

    models, seen_by_plan, given = pack("nodes.host.models.video_model"), [], extra()
    inside_a_step(pack, model, [[prompt[0][0], given]], compare, count, references)


@pytest.mark.parametrize("recomputed", [0, BLOCK], ids=["kept", "recomputed"])
@pytest.mark.parametrize(
    ("kind", "extra", "references"),
    [
        ("animate", of_animate, 1),
        ("s2v", of_s2v, 0),
        ("wandancer", of_music, 0),
        ("scail2", of_scail_2, 0),
        ("humo", of_humo, 0),
        ("camera", of_camera, 0),
    ],
)
def test_the_gradient_beside_injected_attention_is_that_of_finite_differences(
    pack, comfyui, prompt, kind, extra, references, recomputed
):
    agrees_with_finite_differences(pack, relative(kind), [[prompt[0][0], extra()]], recomputed, references)


def test_the_cameras_rays_are_halved_with_the_latent(pack, comfyui):
    from comfy.conds import CONDRegular

    condition = {"model_conds": {"camera_conditions": CONDRegular(of_camera()["camera_conditions"])}}
    halved = pack("nodes.host.models.half_size").halved_condition(pack("nodes.host.models.wan").WAN, condition)
    assert halved["model_conds"]["camera_conditions"].cond.shape == (1, 24, 2, 32, 32)


@pytest.mark.parametrize("name", ["ref_mask_latents", "sam_latents"])
def test_the_masks_of_scail_2_are_refused_at_half_size(pack, comfyui, name):
    from comfy.conds import CONDRegular

    condition = {"model_conds": {name: CONDRegular(made(1, 28, 2, 8, 8))}}
    with pytest.raises(ValueError, match=f"resolution of half, got {name}"):
        pack("nodes.host.models.half_size").halved_condition(pack("nodes.host.models.wan").WAN, condition)


def test_reference_motion_is_packed_into_as_many_tokens_as_counted(pack, comfyui):
    """S2V's own packer, whose length is the same for motions of any."""
    import comfy.ldm.wan.model as wan

    packer = wan.FramePackMotioner(inner_dim=16, num_heads=2, operations=torch.nn)
    latent = noise(1, (5, 4, 4))
    embedder = SimpleNamespace(rope_encode=lambda *_, **__: torch.zeros(1, 1, 1))
    packed, _ = packer(latent, embedder)
    network = SimpleNamespace(patch_size=(1, 2, 2))
    condition = {"model_conds": {"reference_motion": SimpleNamespace(cond=latent)}}
    assert pack("nodes.host.models.wan").WAN.tokens_beside(network, condition) == packed.shape[1] == 24


def test_animates_pose_adds_no_tokens(pack):
    condition = {"model_conds": {"pose_latents": SimpleNamespace(cond=noise(1, GRID))}}
    tokens_beside = pack("nodes.host.models.wan").WAN.tokens_beside
    assert tokens_beside(SimpleNamespace(patch_size=(1, 2, 2), pose_patch_embedding=None), condition) == 0
    assert tokens_beside(SimpleNamespace(patch_size=(1, 2, 2)), condition) == 32
