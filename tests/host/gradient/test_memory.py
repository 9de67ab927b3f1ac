"""Out of memory in the middle of a guided step: a smaller plan, once, and then an error that helps."""

import logging
from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.host.runs import noise, run_sampler
from tools.host.made_models import quantised_fp8, wan_network, wan_weights

GRID = (2, 4, 4)
SIGMAS = [1.0, 0.9, 0.8]
BLOCK = 3


@pytest.fixture
def motion(pack, tiny_model, prompt):
    config = pack("fastvmt_core.config").AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    with torch.inference_mode():
        return pack("nodes.host.reading.inversion").invert_motion(
            tiny_model, noise(1, GRID), prompt, config, (BLOCK,), (0.3,), 5, "ignore"
        )


@pytest.fixture
def sample(pack, prompt, motion):
    """Sample by euler under guidance, two inner steps at each of two steps."""
    import comfy.k_diffusion.sampling

    core = pack("fastvmt_core.config")

    def run(model, level, messages=None):
        config = core.GuidanceConfig(
            inner_steps=2, gradient_interval=1, lr_start=0.1, lr_end=0.1, end_percent=1, memory=level
        )
        send = (lambda event, data: messages.append((event, data))) if messages is not None else lambda *_: None
        guided = pack("nodes.host.sampling.wrapper").apply_motion(model, motion, core.LossWeights(), config, "1", send)
        return run_sampler(guided, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, GRID), SIGMAS)

    return run


def running_out(model, times):
    """The model, and the calls of its block 2; the first `times` of them under autograd run out of memory."""
    calls = []

    def patch(args, extra):
        if torch.is_grad_enabled():
            calls.append(torch.is_inference_mode_enabled())
            if len(calls) <= times:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return extra["original_block"](args)

    patched = model.clone()
    patched.set_model_patch_replace(patch, "dit", "double_block", 2)
    return patched, calls


def test_the_step_is_done_again_by_a_smaller_plan(tiny_model, sample, caplog):
    expected = sample(tiny_model, "smallest")
    patched, calls = running_out(tiny_model, 1)
    runs = []
    attention = tiny_model.model.diffusion_model.blocks[2].self_attn
    handle = attention.register_forward_pre_hook(lambda *_: runs.append(1) if torch.is_grad_enabled() else None)
    with caplog.at_level(logging.WARNING):
        found = sample(patched, "fastest")
    handle.remove()
    assert "out of memory; once more with 3 of 3 blocks recomputed" in caplog.text
    # The smallest plan from the first inner step on, and no step was lost or taken twice.
    assert torch.equal(found, expected)
    # One that failed; then four gradients, each of them forward and again in backward.
    assert (len(calls), len(runs)) == (1 + 4, 4 * 2)


@pytest.mark.parametrize(("level", "calls_made"), [("fastest", 2), ("auto", 2), ("smallest", 1)])
def test_a_second_failure_says_what_to_lower(tiny_model, sample, level, calls_made):
    patched, calls = running_out(tiny_model, 100)
    with pytest.raises(torch.OutOfMemoryError, match=r"Lower width, height, length or batch_size.*Tried to allocate"):
        sample(patched, level)
    assert len(calls) == calls_made


def test_other_errors_pass_through(tiny_model, sample):
    def fail(args, extra):
        if torch.is_grad_enabled():
            raise RuntimeError("shapes do not match")
        return extra["original_block"](args)

    patched = tiny_model.clone()
    patched.set_model_patch_replace(fail, "dit", "double_block", 2)
    with pytest.raises(RuntimeError, match="^shapes do not match$"):
        sample(patched, "fastest")


def test_the_models_weights_are_put_back_after_running_out(tiny_model, sample):
    before = dict(tiny_model.model.diffusion_model.named_parameters())
    patched, _ = running_out(tiny_model, 100)
    with pytest.raises(torch.OutOfMemoryError):
        sample(patched, "auto")
    after = dict(tiny_model.model.diffusion_model.named_parameters())
    assert all(after[name] is weight for name, weight in before.items())


def test_the_estimate_is_told_before_the_first_gradient(tiny_model, sample):
    messages = []
    sample(tiny_model, "smallest", messages)
    event, plan = messages[0]
    assert event == "guidance"
    estimate = plan["memory"]
    assert (estimate["recomputed_blocks"], estimate["blocks"], estimate["offloaded"]) == (3, 3, True)
    assert 0 <= estimate["needed_gb"] < estimate["free_gb"]
    assert estimate["seconds"] >= 0


def test_a_device_that_cannot_be_timed_ends_no_run(pack, tiny_model, sample, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(pack("nodes.host.gradient.memory"), "measured_rates", fail)
    messages = []
    sample(tiny_model, "auto", messages)
    assert "seconds" not in messages[0][1]["memory"]


def test_other_models_make_room_and_ours_stays(tiny_model, sample, monkeypatch):
    """The host's own unloading, where nothing is free."""
    import comfy.model_management as host
    import comfy.model_patcher

    other = comfy.model_patcher.ModelPatcher(torch.nn.Linear(8, 8), torch.device("cpu"), torch.device("cpu"))
    loaded = []

    def patch(args, extra):
        if torch.is_grad_enabled():
            loaded.append([entry.model.model for entry in host.current_loaded_models])
        return extra["original_block"](args)

    patched = tiny_model.clone()
    patched.set_model_patch_replace(patch, "dit", "double_block", 2)
    host.load_models_gpu([tiny_model])
    host.load_models_gpu([other])
    assert other.model in [entry.model.model for entry in host.current_loaded_models]
    monkeypatch.setattr(host, "get_free_memory", lambda _=None, both=False: (1e9, 1e9) if both else 0)
    sample(patched, "auto")
    # Of four gradients.
    assert len(loaded) == 4
    assert all(tiny_model.model in models and other.model not in models for models in loaded)


def test_weights_wait_elsewhere_where_no_plan_fits_beside_them(pack, tiny_model, sample, monkeypatch):
    import comfy.model_management as host
    import comfy.model_patcher

    memory = pack("nodes.host.gradient.memory")
    free, asked = [1e4], []

    def put_away(patcher, device, missing):
        asked.append(missing)
        free[0] += missing
        return missing

    monkeypatch.setattr(memory, "_can_wait_elsewhere", lambda patcher: True)
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "partially_unload", put_away)
    monkeypatch.setattr(memory.GuidedMemory, "_free", lambda self: free[0])
    monkeypatch.setattr(host, "free_memory", lambda *_, **__: [])
    messages = []
    sample(tiny_model, "auto", messages)
    plan = messages[0][1]["memory"]
    # Asked once, for what the smallest plan needs and no more.
    assert len(asked) == 1 and plan["offloaded"]
    assert plan["needed_gb"] * 1e9 == pytest.approx(0.9 * (1e4 + asked[0]), abs=1e7)


@pytest.fixture
def crowded(pack, monkeypatch):
    """A card that is too small for a model's weights and a gradient: 4 MB of the weights have to wait.

    Gives a function that prepares it for a model. The weights move by the host's own code, from the CPU to the CPU.
    """
    import comfy.model_management as host

    memory = pack("nodes.host.gradient.memory")
    monkeypatch.setattr(memory, "_can_wait_elsewhere", lambda patcher: True)
    monkeypatch.setattr(host, "free_memory", lambda *_, **__: [])

    def prepare(model):
        host.load_models_gpu([model])
        card = model.loaded_size() - 4_000_000
        monkeypatch.setattr(memory.GuidedMemory, "_free", lambda self: float(card - model.loaded_size()))

    return prepare


def loaded_at_each_pass(model):
    """The model, and (with gradient, bytes of weights that are loaded) of each pass through its block 0."""
    passes = []

    def patch(args, extra):
        passes.append((torch.is_grad_enabled(), model.loaded_size()))
        return extra["original_block"](args)

    patched = model.clone()
    patched.set_model_patch_replace(patch, "dit", "double_block", 0)
    return patched, passes


def test_weights_that_waited_are_back_for_the_ordinary_steps(tiny_model, sample, crowded):
    patched, passes = loaded_at_each_pass(tiny_model)
    crowded(tiny_model)
    whole = tiny_model.loaded_size()
    sample(patched, "auto")
    assert all(loaded < whole for guided, loaded in passes if guided)
    # The last guided step is denoised with all of them, and so is what follows.
    assert [loaded for guided, loaded in passes if not guided][-1] == whole
    assert tiny_model.loaded_size() == whole and not tiny_model.model.model_lowvram


def test_weights_that_waited_are_back_after_a_failure(tiny_model, sample, crowded):
    patched, _ = running_out(tiny_model, 100)
    crowded(tiny_model)
    whole = tiny_model.loaded_size()
    with pytest.raises(torch.OutOfMemoryError):
        sample(patched, "auto")
    assert tiny_model.loaded_size() == whole


def test_only_the_weights_that_fit_come_back(pack, tiny_model, sample, crowded, monkeypatch):
    """Another program took memory in the meantime."""
    patched, passes = loaded_at_each_pass(tiny_model)
    crowded(tiny_model)
    whole, guided_memory = tiny_model.loaded_size(), pack("nodes.host.gradient.memory").GuidedMemory
    free, release = guided_memory._free, guided_memory.release

    def released_on_a_fuller_card(self):
        monkeypatch.setattr(guided_memory, "_free", lambda self: free(self) - 2_000_000)
        release(self)

    monkeypatch.setattr(guided_memory, "release", released_on_a_fuller_card)
    sample(patched, "auto")
    waited = whole - min(loaded for _, loaded in passes)
    assert waited > 2_000_000
    assert whole - waited <= tiny_model.loaded_size() <= whole - 2_000_000


def test_a_host_that_streams_weights_is_left_to_put_them_away(pack):
    can_wait = pack("nodes.host.gradient.memory")._can_wait_elsewhere
    devices = {"load_device": torch.device("cuda", 0), "offload_device": torch.device("cpu")}
    assert can_wait(SimpleNamespace(**devices)) and can_wait(SimpleNamespace(**devices, is_dynamic=lambda: False))
    assert not can_wait(SimpleNamespace(**devices, is_dynamic=lambda: True))


def test_pinned_memory_is_given_back(tiny_model, sample, monkeypatch):
    """By torch's own function, which a CPU has too."""
    given_back = []
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: given_back.append(torch.is_grad_enabled()))
    sample(tiny_model, "smallest")
    # After the last guided step, and once more when the run ends.
    assert given_back == [False, False]


def test_room_is_asked_where_the_host_counts_what_it_would_give_up(tiny_model, sample, monkeypatch):
    """Hosts that stream weights count those as free that they would put away; a stand-in, as CPUs stream none."""
    import comfy.model_management as host
    import comfy.model_patcher

    monkeypatch.setattr(host, "get_free_memory", lambda _=None, both=False: (1e9, 1e9) if both else 0)
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "get_free_memory", lambda self, device: 7e9, raising=False)
    messages = []
    sample(tiny_model, "auto", messages)
    assert messages[0][1]["memory"]["free_gb"] == 7.0
    assert messages[0][1]["memory"]["recomputed_blocks"] == 0


@pytest.mark.parametrize(
    ("size", "gigabytes"),
    [({"dim": 1536, "ffn_dim": 8960, "num_heads": 12}, 0.09), ({"dim": 5120, "ffn_dim": 13824, "num_heads": 40}, 0.70)],
    ids=["1.3B", "14B"],
)
def test_weights_that_wait_elsewhere_count_as_copies(pack, comfyui, size, gigabytes):
    """As where the host streams them: each recomputed block has its copies once, kept blocks have theirs together."""
    block = wan_network(num_layers=1, **size).blocks[0].to(torch.bfloat16)
    copies = pack("nodes.host.gradient.memory").weight_copies(block, torch.bfloat16, torch.device("cpu"))
    assert copies / 1e9 == pytest.approx(gigabytes, abs=0.005)
    in_place = pack("nodes.host.gradient.memory").weight_copies(block, torch.bfloat16, torch.device("meta"))
    assert in_place == 0
    planning, shape = pack("fastvmt_core.budget.memory"), {"dim": size["dim"], "ffn_dim": size["ffn_dim"]}
    streamed = planning.GuidedPass(1, 32760, blocks=14, bytes_per_value=2, weight_copies=copies, **shape)
    owned = planning.GuidedPass(1, 32760, blocks=14, bytes_per_value=2, **shape)

    def more(recomputed):
        plan = planning.MemoryPlan(recomputed)
        return streamed.needed(plan) - owned.needed(plan)

    assert (more(14), more(0)) == (copies, 15 * copies)


def test_attention_in_pieces_counts(pack, tiny_model, prompt, monkeypatch):
    """As on a device without a fused kernel, where even this clip's attention is large."""
    memory, grid = pack("nodes.host.gradient.memory"), pack("fastvmt_core.grid").TokenGrid(*GRID)
    monkeypatch.setattr(pack("fastvmt_core.attention.chunked"), "MOST_LOGITS", 100)
    counted = []

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        counted.append(memory.sizes_of(model.inner_model, 1, grid, BLOCK))
        with sdpa_kernel(SDPBackend.MATH):
            counted.append(memory.sizes_of(model.inner_model, 1, grid, BLOCK))
        return x

    run_sampler(tiny_model, prompt, sampler, noise(1, GRID), SIGMAS)
    fused, pieces = counted
    assert fused.attention_pieces == 0
    # Two matrices of 3 queries and 32 keys, in float32, are the least.
    assert 2 * 3 * 32 * 4 < pieces.attention_pieces == pieces.ahead - fused.ahead


def test_quantised_weights_count_unpacked(pack, comfyui):
    """In place and of the computing dtype by name, and yet each layer computes with a copy in it."""
    import comfy.sd

    with torch.inference_mode():
        weights, metadata = quantised_fp8(wan_weights())
        network = comfy.sd.load_diffusion_model_state_dict(weights, metadata=metadata).model.diffusion_model
    block = network.blocks[0]
    layers = [layer for layer in block.modules() if hasattr(layer, "in_features")]
    dtype = layers[0].weight.dtype
    copies = pack("nodes.host.gradient.memory").weight_copies(block, dtype, torch.device("cpu"))
    width = torch.empty(0, dtype=dtype).element_size()
    assert len(layers) == 10
    assert copies >= width * sum(layer.in_features * layer.out_features for layer in layers)


def test_patched_weights_count_as_copies(pack, comfyui):
    """A LoRA that the host applies at use."""
    block = wan_network(num_layers=1).blocks[0]
    block.ffn[0].weight_function = [lambda weight: weight]
    copies = pack("nodes.host.gradient.memory").weight_copies(block, torch.float32, torch.device("meta"))
    assert copies == 4 * 256 * 512
