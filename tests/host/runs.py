"""Run a sampler function of a test's own as the host runs one."""

import torch


def run_sampler(model, prompt, sampler_function, x, sigmas, negative=None):
    """Sample under inference mode, as a sampler node does; `x` is the noise, on an empty latent.

    Without a negative prompt of its own the prompt is both.
    """
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(prompt, prompt if negative is None else negative)
    guider.set_cfg(4.0)
    with torch.inference_mode():
        sampler = comfy.samplers.KSAMPLER(sampler_function)
        return guider.sample(x, torch.zeros_like(x), sampler, torch.tensor(sigmas), seed=0)


def noise(seed, grid):
    """Seeded noise of the size of a token grid (F, H, W)."""
    frames, height, width = grid
    return torch.randn(1, 16, frames, height * 2, width * 2, generator=torch.Generator().manual_seed(seed))
