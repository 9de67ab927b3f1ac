"""Run a sampler function of a test's own as the host runs one."""

import torch

from tools.host.made_models import wan_weights


def loaded(kind, **sizes):
    """A Wan of this kind with random weights, small unless sizes are given."""
    import comfy.sd

    with torch.inference_mode():
        return comfy.sd.load_diffusion_model_state_dict(wan_weights(kind, **sizes))


def run_sampler(model, prompt, sampler_function, x, sigmas, negative=None, latent=None, mask=None):
    """Sample under inference mode, as a sampler node does; `x` is the noise, on an empty latent if none is given.

    Without a negative prompt of its own the prompt is both. Where `mask` is 0 the latent is kept.
    """
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(prompt, prompt if negative is None else negative)
    guider.set_cfg(4.0)
    with torch.inference_mode():
        sampler = comfy.samplers.KSAMPLER(sampler_function)
        latent = torch.zeros_like(x) if latent is None else latent
        return guider.sample(x, latent, sampler, torch.tensor(sigmas), denoise_mask=mask, seed=0)


def noise(seed, grid):
    """Seeded noise of the size of a token grid (F, H, W)."""
    frames, height, width = grid
    return torch.randn(1, 16, frames, height * 2, width * 2, generator=torch.Generator().manual_seed(seed))


def small_motion(pack, model, prompt, latent, block):
    """The motion of a latent, read in one block by windows of 3 tokens over two frames."""
    flow = pack("fastvmt_core.config").AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    with torch.inference_mode():
        return pack("nodes.host.reading.inversion").invert_motion(
            model, latent, prompt, flow, (block,), (0.3,), 5, "ignore"
        )


def captured_qk(pack, model, x, sigma, extra_args, blocks, grid, plan=None, **how):
    """q and k of a forward pass up to the last of `blocks`, (B, F, H, W, heads, d); where a sampler function stands."""
    needs = pack("fastvmt_core.objectives.protocol").Needs(queries_and_keys=tuple(blocks))
    plan = plan or pack("fastvmt_core.budget.memory").KEEP_ALL
    clips = pack("nodes.host.attention.signals").signals_of(model, x, sigma, extra_args, needs, grid, plan, **how)
    return torch.stack([clip.q for clip in clips]), torch.stack([clip.k for clip in clips])
