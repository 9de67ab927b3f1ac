"""Every objective on the host: what is captured, its gradient through the network, a run from reading to sampling."""

import pytest
import torch

from tests.host.runs import noise, run_sampler

GRID = (3, 4, 4)
BLOCK = 3
SIGMA = 0.7
NAMES = ["FastVMT", "DiTFlow", "SMM", "MOFT", "MotionClone", "FlowMotion", "flow of values"]


@pytest.fixture(scope="module")
def motions(pack, tiny_model, empty_prompt):
    """The motion of one latent, read for each objective."""
    methods, config = pack("fastvmt_core.objectives.registry").METHODS, pack("fastvmt_core.config").AMFConfig(window=3)
    invert = pack("nodes.host.reading.inversion").invert_motion
    assert list(methods) == NAMES
    with torch.inference_mode():
        return {
            name: invert(
                tiny_model, noise(1, GRID), empty_prompt, config, (BLOCK,), (0.3,), 5, "ignore", objective=method
            )
            for name, method in methods.items()
        }


def at_a_guided_step(pack, model, prompt, needs, inside, recomputed=0):
    """Call `inside(base, read, x)` where a guided step would stand; read(point) captures what is needed there."""
    signals = pack("nodes.host.attention.signals")
    grid = pack("fastvmt_core.grid").TokenGrid(*GRID)
    plan = pack("fastvmt_core.budget.memory").MemoryPlan(recomputed, offloaded=True)

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        base = wrapped.inner_model.inner_model
        with pack("nodes.host.gradient.scope").gradient_scope(base.diffusion_model):

            def read(point):
                (clip,) = signals.signals_of(wrapped, point, sigmas[:1].clone(), extra_args, needs, grid, plan)
                return clip

            inside(base, read, x.clone())
        return x

    run_sampler(model, prompt, sampler, noise(2, GRID), [SIGMA, 0.3])


def blocks_that_run(base, work):
    """The numbers of the blocks that begin while `work()` runs."""
    began = []
    handles = [
        block.register_forward_pre_hook(lambda *_, number=number: began.append(number))
        for number, block in enumerate(base.diffusion_model.blocks)
    ]
    try:
        work()
    finally:
        for handle in handles:
            handle.remove()
    return began


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_asked_for_is_captured_and_no_further_block_runs(pack, tiny_model, prompt, motions, name):
    method = pack("fastvmt_core.objectives.registry").METHODS[name]
    needs = method.needs(motions[name])

    def inside(base, read, x):
        clips = []
        began = blocks_that_run(base, lambda: clips.append(read(x.requires_grad_(True))))
        depth = len(base.diffusion_model.blocks)
        assert began == list(range(depth if needs.velocity else BLOCK + 1))
        given = {key for key, value in vars(clips[0]).items() if value is not None}
        asked = {"q", "k"} if needs.queries_and_keys else set()
        asked |= {"v"} if needs.values else set()
        asked |= {"hidden"} if needs.hidden else set()
        asked |= {"velocity", "latent", "sigma"} if needs.velocity else set()
        assert given == asked

    at_a_guided_step(pack, tiny_model, prompt, needs, inside)


def test_the_output_of_a_block_is_the_next_ones_input(pack, tiny_model, prompt):
    needs = pack("fastvmt_core.objectives.protocol").Needs(hidden=(1, BLOCK))

    def inside(base, read, x):
        seen = []
        handle = base.diffusion_model.blocks[2].register_forward_pre_hook(
            lambda _, args, kwargs: seen.append((args[0] if args else kwargs["x"]).detach().clone()), with_kwargs=True
        )
        hidden = read(x.requires_grad_(True)).hidden
        handle.remove()
        assert hidden.shape == (*GRID, 2 * base.diffusion_model.dim)
        assert torch.equal(hidden[..., : base.diffusion_model.dim].flatten(0, 2), seen[0][0])

    at_a_guided_step(pack, tiny_model, prompt, needs, inside)


def test_the_velocity_is_the_hosts_own_and_a_constant(pack, tiny_model, prompt):
    needs = pack("fastvmt_core.objectives.protocol").Needs(velocity=True)

    def inside(base, read, x):
        clip = read(x.requires_grad_(True))
        with torch.no_grad():
            own = base.apply_model(x, torch.tensor([SIGMA]), c_crossattn=prompt[0][0].clone())
        assert torch.allclose(clip.latent - clip.sigma * clip.velocity, own[0], atol=1e-4)
        assert not clip.velocity.requires_grad and clip.latent.requires_grad

    at_a_guided_step(pack, tiny_model, prompt, needs, inside)


@pytest.mark.parametrize("recomputed", [0, BLOCK + 1])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("FastVMT", "FlowMotion")])
def test_the_gradient_agrees_with_a_finite_difference(pack, tiny_model, prompt, motions, name, recomputed):
    method, motion = pack("fastvmt_core.objectives.registry").METHODS[name], motions[name]
    needs = method.needs(motion)
    with torch.inference_mode(False):
        target = method.target(motion, SIGMA, torch.device("cpu"))

    def inside(base, read, x):
        point = x.requires_grad_(True)
        loss = target.loss(read(point)).total
        (gradient,) = torch.autograd.grad(loss, point)
        # Along the gradient, so that float32 has the most to tell.
        step = 1e-2 * gradient / gradient.norm()
        with torch.no_grad():
            ahead, behind = (float(target.loss(read(x + sign * step)).total) for sign in (1, -1))
        expected = float((gradient * step).sum()) * 2
        # The third derivative over the step, and float32.
        assert abs(ahead - behind - expected) < 0.05 * abs(expected)

    at_a_guided_step(pack, tiny_model, prompt, needs, inside, min(recomputed, needs.whole_blocks))


@pytest.mark.parametrize("name", NAMES)
def test_a_motion_guides_a_run_by_the_objective_that_it_was_read_for(pack, tiny_model, prompt, motions, name):
    core, motion = pack("fastvmt_core.config"), motions[name]
    apply_motion = pack("nodes.host.sampling.wrapper").apply_motion
    config, sent = core.GuidanceConfig(inner_steps=2, lr_start=0.02, lr_end=0.02, gradient_interval=1), []
    guided = apply_motion(tiny_model, motion, core.LossWeights(), config, "1", lambda *message: sent.append(message))
    assert motion.objective == name and motion.reference is not None

    x, sigmas = noise(2, GRID), [1.0, 0.6, 0.0]
    plain = run_with(tiny_model, prompt, x, sigmas)
    moved = run_with(guided, prompt, x, sigmas)
    assert not torch.equal(plain, moved) and bool(torch.isfinite(moved).all())
    (step,) = [data for kind, data in sent if kind == "guided_step"]
    first, last = step["losses"][0], step["losses"][-1]
    assert last < first


def run_with(model, prompt, x, sigmas):
    """Sample with the host's own euler."""
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(prompt, prompt)
    guider.set_cfg(4.0)
    with torch.inference_mode():
        sampler = comfy.samplers.sampler_object("euler")
        return guider.sample(x, torch.zeros_like(x), sampler, torch.tensor(sigmas), seed=0)


def test_another_objective_at_apply_motion_is_refused_in_words(pack, tiny_model, motions):
    core, methods = pack("fastvmt_core.config"), pack("fastvmt_core.objectives.registry").METHODS
    apply_motion = pack("nodes.host.sampling.wrapper").apply_motion
    settings = (core.LossWeights(), core.GuidanceConfig(), None)
    with pytest.raises(ValueError, match="objective: expected FastVMT, which the motion was read for, got SMM"):
        apply_motion(tiny_model, motions["FastVMT"], *settings, objective=methods["SMM"])


def test_another_size_is_refused_where_the_motion_is_no_flow(pack, tiny_model, prompt, motions):
    core = pack("fastvmt_core.config")
    guided = pack("nodes.host.sampling.wrapper").apply_motion(
        tiny_model, motions["MOFT"], core.LossWeights(), core.GuidanceConfig(), None
    )
    with pytest.raises(ValueError, match="motion: expected one that is a flow, got one read for MOFT"):
        run_with(guided, prompt, noise(2, (3, 4, 6)), [1.0, 0.6, 0.0])


def test_the_preset_paper_stands_for_the_objectives_own_numbers(pack, motions):
    guidance, methods = pack("nodes.guidance"), pack("fastvmt_core.objectives.registry").METHODS
    own = guidance.guidance_config(preset="paper", strength=2.0, published=methods["SMM"].schedule)
    assert (own.inner_steps, own.lr_start, own.end_percent, own.strength) == (10, 0.007, 0.4, 2.0)
    assert guidance.guidance_config(preset="fast", strength=1.0, published=methods["SMM"].schedule).inner_steps == 1
