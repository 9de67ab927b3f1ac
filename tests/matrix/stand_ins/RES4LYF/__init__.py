"""Stands in for RES4LYF: samplers and schedulers put into the host's own lists while the pack is loaded.

Traps kept: a second evaluation inside a step; a multistep method whose first step evaluates twice; sigmas that are
not the host's.
"""

from __future__ import annotations

from functools import partial

import comfy.k_diffusion.sampling
import comfy.samplers
import torch

Model = object


def sample_res_2s(
    model: Model, x: torch.Tensor, sigmas: torch.Tensor, extra_args: dict, callback: object, disable: object
):
    """Two evaluations a step, at its start and at the middle between its sigmas."""
    for step, (sigma, end) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        denoised = model(x, sigma.expand(len(x)), **extra_args)
        callback({"x": x, "i": step, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
        middle = (sigma + end) / 2
        half = denoised + (x - denoised) * (middle / sigma)
        second = model(half, middle.expand(len(x)), **extra_args)
        x = second + (x - second) * (end / sigma)
    return x


def sample_res_2m(
    model: Model, x: torch.Tensor, sigmas: torch.Tensor, extra_args: dict, callback: object, disable: object
):
    """One evaluation a step beside the last one's, but for the first step, which begins with two."""
    last = model(x, sigmas[0].expand(len(x)), **extra_args)
    for step, (sigma, end) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        denoised = model(x, sigma.expand(len(x)), **extra_args)
        callback({"x": x, "i": step, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
        toward = 1.25 * denoised - 0.25 * last
        x = toward + (x - toward) * (end / sigma)
        last = denoised
    return x


for sampler in (sample_res_2s, sample_res_2m):
    comfy.samplers.KSampler.SAMPLERS.append(sampler.__name__.removeprefix("sample_"))
    setattr(comfy.k_diffusion.sampling, sampler.__name__, sampler)
for name, shape in (("beta57", {"alpha": 0.5, "beta": 0.7}), ("bong_tangent", {"alpha": 0.6, "beta": 0.4})):
    handler = partial(comfy.samplers.beta_scheduler, **shape)
    comfy.samplers.SCHEDULER_HANDLERS[name] = comfy.samplers.SchedulerHandler(handler=handler, use_ms=True)
    comfy.samplers.SCHEDULER_NAMES.append(name)
NODE_CLASS_MAPPINGS: dict[str, type] = {}
