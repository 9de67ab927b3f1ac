"""Capturing q and k: other nodes' patches count, cancel is heard, and nothing stays behind in the model."""

import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.host.runs import captured_qk, noise, run_sampler
from tests.host.sampling.test_gradient import hosts_own_qk

GRID = (2, 4, 4)
BLOCK = 3
SIGMAS = [0.9, 0.5]


def captured(pack, model, prompt, inside, recomputed=0, blocks=(BLOCK,)):
    """Call `inside(base, qk, point)` where a guided step would stand; qk() captures from the point."""
    autograd = pack("nodes.host.gradient.scope")
    grid = pack("fastvmt_core.grid").TokenGrid(*GRID)
    plan = pack("fastvmt_core.budget.memory").MemoryPlan(recomputed, offloaded=recomputed == BLOCK)

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        base = wrapped.inner_model.inner_model
        with autograd.gradient_scope(base.diffusion_model):
            point = x.clone().requires_grad_(True)

            def qk():
                level = sigmas[:1].clone()
                return captured_qk(pack, wrapped, point, level, extra_args, blocks, grid, plan)

            inside(base, qk, point)
        return x

    run_sampler(model, prompt, sampler, noise(1, GRID), SIGMAS)


def test_other_nodes_patches_before_and_on_the_block_count(pack, tiny_model, prompt):
    def dim(args, extra):
        return {"img": extra["original_block"](args)["img"] * 0.5}

    def shift(args, extra):
        return extra["original_block"]({**args, "img": args["img"] + 1.0})

    patched = tiny_model.clone()
    patched.set_model_patch_replace(dim, "dit", "double_block", 1)
    patched.set_model_patch_replace(shift, "dit", "double_block", BLOCK)
    replaced = {("double_block", 1): dim, ("double_block", BLOCK): shift}

    def compare(base, qk, point):
        q, k = qk()
        with torch.no_grad():
            own = hosts_own_qk(
                base, point, torch.tensor([SIGMAS[0]]), prompt[0][0], GRID, {"patches_replace": {"dit": replaced}}
            )
            plain = hosts_own_qk(base, point, torch.tensor([SIGMAS[0]]), prompt[0][0], GRID)
        # The same float32 operations in the same order.
        assert torch.allclose(q[0], own[0], atol=1e-5)
        assert torch.allclose(k[0], own[1], atol=1e-5)
        assert not torch.allclose(q[0], plain[0], atol=1e-2)

    captured(pack, patched, prompt, compare)


def test_several_blocks_stand_side_by_side_as_heads(pack, tiny_model, prompt):
    def compare(base, qk, point):
        q, k = qk()
        with torch.no_grad():
            own = hosts_own_qk(base, point, torch.tensor([SIGMAS[0]]), prompt[0][0], GRID, blocks=(0, 2, 4))
        assert q.shape[-2] == 3 * base.diffusion_model.num_heads
        # Blocks that run on and blocks after them see the same tokens as in the host's own pass.
        assert torch.allclose(q[0], own[0], atol=1e-5)
        assert torch.allclose(k[0], own[1], atol=1e-5)

    captured(pack, tiny_model, prompt, compare, blocks=(0, 2, 4))


def test_blocks_are_shown_one_by_one_and_let_go(pack, tiny_model, prompt):
    capture, grid = pack("nodes.host.attention.capture"), pack("fastvmt_core.grid").TokenGrid(*GRID)
    alive, most, seen = set(), [], []

    def on_attention(block, q, k, v):
        alive.add(block)
        weakref.finalize(q, alive.discard, block)
        most.append(set(alive))
        seen.append(block)

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        with torch.no_grad():
            capture.visit(wrapped, x, sigmas[:1], extra_args, range(6), (), grid, on_attention)
        return x

    run_sampler(tiny_model, prompt, sampler, noise(1, GRID), SIGMAS)
    assert seen == list(range(6))
    assert most == [{block} for block in range(6)]


def test_a_block_that_another_node_leaves_out_is_missed(pack, tiny_model, prompt):
    patched = tiny_model.clone()
    patched.set_model_patch_replace(lambda args, extra: {"img": args["img"]}, "dit", "double_block", 1)

    def compare(base, qk, point):
        with pytest.raises(ValueError, match="expected the forward pass to reach the self-attention of block 1"):
            qk()

    captured(pack, patched, prompt, compare, blocks=(1, BLOCK))


def falls_back(args, extra):
    """A block of a pack that catches whatever its attention raises, and fails by itself."""
    try:
        return extra["original_block"](args)
    except Exception:  # noqa: BLE001
        raise AttributeError("module 'attention' has no attribute 'attention'") from None


def goes_on(args, extra):
    """Likewise, one that goes on without attention."""
    try:
        return extra["original_block"](args)
    except Exception:  # noqa: BLE001
        return {"img": args["img"]}


@pytest.mark.parametrize("patch", [falls_back, goes_on])
def test_a_block_that_catches_every_error_is_still_read(pack, tiny_model, prompt, patch):
    patched = tiny_model.clone()
    patched.set_model_patch_replace(patch, "dit", "double_block", BLOCK)
    found = []
    captured(pack, tiny_model, prompt, lambda base, qk, point: found.append(qk()))
    captured(pack, patched, prompt, lambda base, qk, point: found.append(qk()))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_a_cached_forward_on_the_network_is_put_aside_and_back(pack, tiny_model, prompt):
    def compare(base, qk, point):
        network = base.diffusion_model
        expected = qk()

        def cached_forward(*_, **__):
            raise AssertionError("the guided pass was counted as a step")

        cached_forward.__module__ = "custom_nodes.ComfyUI-CacheDiT.nodes"
        network.forward = cached_forward
        try:
            assert all(torch.equal(*pair) for pair in zip(expected, qk(), strict=True))
            assert vars(network)["forward"] is cached_forward
        finally:
            del network.forward

    captured(pack, tiny_model, prompt, compare)


@pytest.mark.parametrize("blocks", [(BLOCK,), (0, 1, BLOCK)], ids=["one block", "three blocks"])
def test_recomputing_does_not_change_the_gradient(pack, tiny_model, prompt, blocks):
    gradients = []
    for recomputed in range(BLOCK + 1):
        captured(
            pack,
            tiny_model,
            prompt,
            lambda base, qk, point: gradients.append(
                torch.autograd.grad(sum(t.square().sum() for t in qk()), point)[0]
            ),
            recomputed,
            blocks,
        )
    for gradient in gradients[1:]:
        assert torch.allclose(gradients[0], gradient, rtol=1e-4, atol=1e-5 * float(gradients[0].abs().max()))


@pytest.mark.parametrize("recomputed", [0, BLOCK], ids=["kept", "recomputed"])
def test_cancel_is_heard_in_the_backward_pass(pack, tiny_model, prompt, recomputed):
    import comfy.model_management as host

    def cancel(base, qk, point):
        loss = sum(t.sum() for t in qk())
        host.interrupt_current_processing(True)
        torch.autograd.grad(loss, point)

    with pytest.raises(host.InterruptProcessingException):
        captured(pack, tiny_model, prompt, cancel, recomputed)
    host.interrupt_current_processing(False)


def test_weights_are_the_same_objects_after_an_error(pack, tiny_model, prompt):
    network = tiny_model.model.diffusion_model
    before = {name: tensor for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
    values = {name: tensor.clone() for name, tensor in before.items()}
    assert any(tensor.is_inference() for tensor in before.values())

    def fail(base, qk, point):
        assert not any(tensor.is_inference() for tensor in network.parameters())
        assert all(tensor.data_ptr() == before[name].data_ptr() for name, tensor in network.named_parameters())
        raise RuntimeError("in the middle of a guided step")

    with pytest.raises(RuntimeError, match="in the middle"):
        captured(pack, tiny_model, prompt, fail)
    after = dict([*network.named_parameters(), *network.named_buffers()])
    assert all(after[name] is tensor for name, tensor in before.items())
    assert all(torch.equal(after[name], value) for name, value in values.items())


class TeaCache:
    """Another pack's cache around the whole model."""

    def patch(self):
        def outer_wrapper(model, args):
            raise AssertionError("the cache was asked")

        return outer_wrapper

    __call__ = patch


def around(model, args):
    """Another pack's function around the whole model that is no cache."""
    return model(args["input"], args["timestep"], **args["c"])


def guided_options(pack, options):
    return pack("nodes.host.attention.capture").guided_options(options, pack("nodes.host.attention.blocks").Pass())


def test_a_function_around_the_model_is_left_out_only_if_it_caches(pack):
    for wrapper, stays in ((around, True), (TeaCache().patch(), False), (TeaCache(), False)):
        options = {"model_function_wrapper": wrapper, "transformer_options": {}}
        assert ("model_function_wrapper" in guided_options(pack, options)) == stays
        assert options["model_function_wrapper"] is wrapper


@pytest.mark.parametrize(
    ("module", "stays"),
    [
        ("/root/.cache/comfyui/custom_nodes/plain_pack/nodes", True),
        ("C:\\cache\\custom_nodes\\plain_pack", True),
        ("/home/me/comfyui/custom_nodes/ComfyUI-CacheCleaner/nodes", True),
        ("custom_nodes.ComfyUI-CacheCleaner.nodes", True),
        ("/home/me/comfyui/custom_nodes/my_pack/nodes_teacache", False),
        ("custom_nodes.my_pack.magcache.nodes", False),
    ],
)
def test_a_cache_is_recognised_by_what_it_is_and_not_by_its_packs_folder(pack, monkeypatch, module, stays):
    monkeypatch.setattr(around, "__module__", module)
    assert pack("nodes.host.attention.caches").is_cache(around) != stays


def speeds_up(model, args):
    """A cache that only the keys it uses betray, in a pack of any name."""
    args["c"]["transformer_options"]["teacache_device"] = args["input"].device
    return model(args["input"], args["timestep"], **args["c"])


def test_a_cache_of_another_name_is_recognised_by_its_keys(pack):
    assert pack("nodes.host.attention.caches").is_cache(speeds_up)


def test_cache_wrappers_are_left_out_and_others_kept(pack):
    from comfy.patcher_extension import WrappersMP

    def wrapper(executor, *args, **kwargs):
        return executor(*args, **kwargs)

    options = {
        "transformer_options": {
            "wrappers": {
                WrappersMP.DIFFUSION_MODEL: {"easycache": [wrapper], "other": [wrapper]},
                WrappersMP.CALC_COND_BATCH: {"easycache": [wrapper]},
                WrappersMP.APPLY_MODEL: {"torch.compile": [wrapper]},
            }
        }
    }
    guided = guided_options(pack, options)
    assert guided["transformer_options"]["wrappers"] == {
        WrappersMP.DIFFUSION_MODEL: {"other": [wrapper]},
        WrappersMP.CALC_COND_BATCH: {},
        WrappersMP.APPLY_MODEL: {},
    }
    assert "easycache" in options["transformer_options"]["wrappers"][WrappersMP.CALC_COND_BATCH]


def test_what_other_nodes_put_into_the_options_and_arguments_stays(pack, tiny_model, prompt):
    """Notes that one block's patch leaves for a later one, and what stands beside the block in a patch's arguments."""
    read = []

    def writes(args, extra):
        args["transformer_options"]["note"] = args["transformer_options"].get("note", 0) + 1
        return extra["original_block"](args)

    def reads(args, extra):
        read.append((args["transformer_options"]["note"], args["transformer_options"]["own_key"], extra["own_key"]))
        return extra["original_block"](args)

    def beside(executor, *args, **kwargs):
        (options,) = [
            each for each in (*args, *kwargs.values()) if isinstance(each, dict) and "patches_replace" in each
        ]
        options["own_key"] = "in the options"
        ours = dict(options["patches_replace"]["dit"])
        for key, patch in ours.items():
            options["patches_replace"]["dit"][key] = lambda args, extra, patch=patch: patch(
                args, {**extra, "own_key": "beside the block"}
            )
        return executor(*args, **kwargs)

    from comfy.patcher_extension import WrappersMP

    patched = tiny_model.clone()
    patched.add_wrapper(WrappersMP.DIFFUSION_MODEL, beside)
    patched.set_model_patch_replace(writes, "dit", "double_block", 0)
    for block in (2, BLOCK):
        patched.set_model_patch_replace(reads, "dit", "double_block", block)
    captured(pack, patched, prompt, lambda base, qk, point: torch.autograd.grad(sum(t.sum() for t in qk()), point), 3)
    assert read == [(1, "in the options", "beside the block")] * 2


def split_between_cards(executor, model, conds, x, timestep, options):
    """The host's split of 2026: prompts run in threads of their own, without a gradient."""
    if "multigpu_clones" not in options:
        return executor(model, conds, x, timestep, options)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.no_grad()(executor), model, conds, x, timestep, options).result()


def test_a_guided_pass_is_not_split_between_cards(pack, tiny_model, prompt):
    from comfy.patcher_extension import WrappersMP

    split = tiny_model.clone()
    split.add_wrapper(WrappersMP.CALC_COND_BATCH, split_between_cards)
    split.model_options["multigpu_clones"] = {torch.device("cpu"): split}
    gradients = []
    for model in (tiny_model, split):
        captured(
            pack,
            model,
            prompt,
            lambda base, qk, point: gradients.append(torch.autograd.grad(sum(t.sum() for t in qk()), point)[0]),
        )
    assert torch.equal(*gradients)
    assert "multigpu_clones" in split.model_options
    options = {"multigpu_clones": {}, "multigpu_thread_pool": object(), "other": 1}
    guided = guided_options(pack, options)
    assert guided.keys() == {"other", "transformer_options"} and len(options) == 3
