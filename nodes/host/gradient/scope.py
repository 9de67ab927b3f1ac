"""The scope in which autograd runs through a network of the host's. Trap: kernels without a backward, weights that are
lent or that another stream overwrites, inference tensors; whatever is changed of the host is changed here, and put back
whatever happens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.ops
import torch

from ..swap import swapped_all
from .kernels import bound_attention_with_backward, fused_kernels_with_backward, linear_layers_with_backward
from .lent_weights import kept_weights
from .owned_weights import ordinary_attributes, ordinary_weights
from .precision import full_precision_products

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider


def _no_fp8_product(*_: object) -> None:
    """The answer with which a layer takes its other path."""


SETTINGS = (
    # Makes hosts of 2026 and later take the kernels that have a backward.
    (comfy.model_management, "in_training", True),
    # Weights that are brought over by streams of their own may be overwritten before backward has read them.
    (comfy.model_management, "NUM_STREAMS", 0),
    # Products in fp8 (weight_dtype fp8_e4m3fn_fast) have no backward.
    (comfy.ops, "fp8_linear", _no_fp8_product),
)
"""(module of the host, name, value while a gradient is evaluated); left out where the host lacks the name."""


def networks_of(guider: CFGGuider) -> tuple[torch.nn.Module, ...]:
    """The network that a guider runs, and those that patches run in between."""
    patches = guider.model_patcher.model_patches_models()
    return guider.inner_model.diffusion_model, *(patcher.model for patcher in patches)


def patches_of(model_options: dict[str, Any]) -> Iterator[object]:
    """Other nodes' patches of blocks and attentions; of a method, the object that it belongs to.

    Tensors that a function holds in its closure, or an object in a list, are not reached by it.
    """
    options = model_options.get("transformer_options", {})
    replacing = options.get("patches_replace", {}).get("dit", {}).values()
    for patch in itertools.chain(replacing, *options.get("patches", {}).values()):
        function = getattr(patch, "func", patch)
        yield getattr(function, "__self__", function)


@contextmanager
def gradient_scope(
    network: torch.nn.Module, *beside: torch.nn.Module, patches: Iterable[object] = ()
) -> Iterator[None]:
    """Let autograd run through `network`, whose weights stay frozen, and leave no trace afterwards.

    Reading a motion needs no gradient and has it too: what is compared was then made by the same kernels, and nothing
    of the host's is swapped elsewhere.

    Args:
        network: the model's.
        beside: networks that patches run in between.
        patches: objects of other nodes', which may hold tensors themselves (InfiniteTalk's masks).
    """
    with ExitStack() as scopes:
        scopes.enter_context(torch.inference_mode(False))
        scopes.enter_context(torch.enable_grad())
        scopes.enter_context(swapped_all(setting for setting in SETTINGS if hasattr(*setting[:2])))
        scopes.enter_context(bound_attention_with_backward())
        scopes.enter_context(fused_kernels_with_backward())
        scopes.enter_context(kept_weights())
        for each in (network, *beside):
            scopes.enter_context(full_precision_products(each))
            scopes.enter_context(linear_layers_with_backward(each))
            scopes.enter_context(ordinary_weights(each))
        scopes.enter_context(ordinary_attributes(patches))
        yield
