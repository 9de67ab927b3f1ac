"""Rivals that train on the reference before they generate: their adapters, and the bench's node that tunes one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.func import functional_call

from tools.train.training import noise_levels

RANK = 8
KERNEL = 3
"""Latent frames that a temporal convolution reads."""
BATCH = 4
"""Noise levels of one iteration."""
LEVELS_SHIFT = 5.0
"""Of the noise levels, as the tiny model was trained with."""

Addition = Callable[[Tensor, Tensor], Tensor]
"""What is added to a module's output, from its input and that output, each (B, tokens, dim)."""
Sites = Sequence[tuple[nn.Module, Addition]]


class LowRank(nn.Module):
    """LoRA on the self-attention's q, k, v and output (MotionDirector, arXiv 2310.08465, its temporal part).

    A video transformer has no attention along time alone, so that it sits on the whole self-attention. Its loss has
    the paper's second term, in which each frame's noise is compared less that of one frame, so that looks count less.
    """

    debiased = True

    def __init__(self, blocks: Sequence[nn.Module], frames: int, generator: torch.Generator) -> None:
        super().__init__()
        self._linears = [part for block in blocks for part in _linears(block.self_attn)]
        shapes = [(part.in_features, part.out_features) for part in self._linears]
        self.down = nn.ParameterList(torch.randn(i, RANK, generator=generator) / math.sqrt(i) for i, _ in shapes)
        self.up = nn.ParameterList(torch.zeros(RANK, o) for _, o in shapes)

    def sites(self) -> Sites:
        """Each linear module with the low-rank product that is added to its output."""
        parts = zip(self._linears, self.down, self.up, strict=True)
        return [(linear, lambda x, _, down=down, up=up: x.to(down) @ down @ up) for linear, down, up in parts]


class FrameBias(nn.Module):
    """A vector for each latent frame, added to q, k and v (Motion Inversion, arXiv 2403.20193).

    Those of v lose their mean over the frames, so that what all frames share, the look, cannot be learned there.
    """

    debiased = False

    def __init__(self, blocks: Sequence[nn.Module], frames: int, generator: torch.Generator) -> None:
        super().__init__()
        self._linears = [part for block in blocks for part in _linears(block.self_attn)[:3]]
        self.biases = nn.ParameterList(torch.zeros(frames, part.out_features) for part in self._linears)

    def sites(self) -> Sites:
        """Each of q, k and v with its bias, repeated over the tokens of a frame."""
        return [
            (linear, lambda _, out, bias=bias, value=index % 3 == 2: _by_frame(bias - value * bias.mean(0), out))
            for index, (linear, bias) in enumerate(zip(self._linears, self.biases, strict=True))
        ]


class TemporalConvolution(nn.Module):
    """A depthwise convolution along time, added to the self-attention's output (DeT, arXiv 2503.17350).

    Without the paper's loss on tracked points.
    """

    debiased = False

    def __init__(self, blocks: Sequence[nn.Module], frames: int, generator: torch.Generator) -> None:
        super().__init__()
        self._frames = frames
        self._attentions = [block.self_attn for block in blocks]
        widths = [attention.o.out_features for attention in self._attentions]
        self.kernels = nn.ParameterList(torch.zeros(width, 1, KERNEL) for width in widths)

    def sites(self) -> Sites:
        """Each self-attention with the convolution of its output."""
        pairs = zip(self._attentions, self.kernels, strict=True)
        return [(attention, lambda _, out, kernel=kernel: self._convolved(kernel, out)) for attention, kernel in pairs]

    def _convolved(self, kernel: Tensor, hidden: Tensor) -> Tensor:
        along_time = rearrange(hidden.to(kernel), "b (f s) d -> (b s) d f", f=self._frames)
        filtered = F.conv1d(along_time, kernel, padding=KERNEL // 2, groups=len(kernel))
        return rearrange(filtered, "(b s) d f -> b (f s) d", b=len(hidden))


ADAPTERS: dict[str, type[LowRank] | type[FrameBias] | type[TemporalConvolution]] = {
    "MotionDirector": LowRank,
    "Motion Inversion": FrameBias,
    "DeT": TemporalConvolution,
}


class BenchTune:
    """A node of the bench's own: the model, with an adapter that was trained on the reference."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "tune"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """As the host asks for them."""
        required = {"model": ("MODEL",), "reference": ("LATENT",), "caption": ("CONDITIONING",)}
        return {"required": {**required, "method": (list(ADAPTERS),), "steps": ("INT",), "rate": ("FLOAT",)}}

    def tune(self, model: Any, reference: Any, caption: Any, method: str, steps: int, rate: float) -> tuple[Any]:  # noqa: ANN401
        """A clone of ``model`` that runs with the adapter; the model and its weights stay as they are."""
        latent = model.model.process_latent_in(reference["samples"])
        network = model.model.diffusion_model
        with torch.inference_mode(False), torch.enable_grad():
            adapter = tuned(network, latent.clone().float(), caption[0][0].clone().float(), method, steps, rate)

        def adapted(run: Callable[..., Tensor], call: dict[str, Any]) -> Tensor:
            with attached(adapter.sites()):
                return run(call["input"], call["timestep"], **call["c"])

        model = model.clone()
        model.set_model_unet_function_wrapper(adapted)
        return (model,)


def tuned(network: nn.Module, latent: Tensor, text: Tensor, method: str, steps: int, rate: float) -> nn.Module:
    """The adapter of ``method`` after ``steps`` iterations of AdamW on flow matching, in the middle half of the blocks.

    Args:
        network: the host's Wan; its weights are copied, not changed.
        latent: (1, C, F, h, w), the reference as the network takes it.
        text: (1, L, d), the reference's own caption, encoded.
        rate: learning rate, constant.
    """
    generator = torch.Generator().manual_seed(0)
    depth = len(network.blocks)
    blocks = list(network.blocks)[depth // 4 : depth - depth // 4]
    adapter = ADAPTERS[method](blocks, latent.shape[2], generator)
    weights = {name: weight.detach().clone().float() for name, weight in network.state_dict().items()}
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=rate)
    for _ in range(steps):
        sigma = noise_levels((BATCH,), generator, LEVELS_SHIFT)
        noise = torch.randn(BATCH, *latent.shape[1:], generator=generator)
        level = rearrange(sigma, "b -> b 1 1 1 1")
        with attached(adapter.sites()):
            arguments = (level * noise + (1 - level) * latent, 1000 * sigma, text.expand(BATCH, -1, -1))
            predicted = functional_call(network, weights, arguments)
        error = predicted - (noise - latent)
        loss = error.square().mean()
        if adapter.debiased:
            anchor = int(torch.randint(latent.shape[2], (), generator=generator))
            loss = loss + (math.sqrt(2) * error - error[:, :, anchor, None]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return adapter.requires_grad_(False)


@contextmanager
def attached(sites: Sites) -> Iterator[None]:
    """Each site's addition is added to its module's output for a while."""
    handles = [
        module.register_forward_hook(lambda _, inputs, out, add=add: out + add(inputs[0], out).to(out))
        for module, add in sites
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _linears(attention: nn.Module) -> list[nn.Module]:
    return [attention.q, attention.k, attention.v, attention.o]


def _by_frame(values: Tensor, tokens: Tensor) -> Tensor:
    """(F, dim) as (1, tokens, dim): one row for each token of its frame."""
    return values.repeat_interleave(tokens.shape[1] // len(values), dim=0)[None]
