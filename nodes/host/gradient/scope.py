"""Gradients inside the host. Trap: it runs nodes under inference mode, where weights made by a loader stay
inference tensors for good, and "inference tensors cannot be saved for backward"."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.ops
import torch

if TYPE_CHECKING:
    from comfy.model_base import BaseModel
    from comfy.model_patcher import ModelPatcher


def clone_with_owned_weights(model: ModelPatcher) -> ModelPatcher:
    """A clone of a model whose weights stay in place from forward to backward.

    Where the host streams weights (dynamic VRAM), they are lent from buffers that the next layer overwrites, and the
    gradient would be wrong. Then the clone is the host's own way out of that, which loads the model a second time.

    Raises:
        ValueError: the host streams this model's weights and does not know how to load it otherwise, or LoRAs in bypass
            mode hang on them.
    """
    if not getattr(model, "is_dynamic", bool)():
        return model.clone()
    try:
        clone = model.get_non_dynamic_delegate()
    except RuntimeError as error:
        # Anything else, such as too little memory for a second copy, speaks for itself.
        if getattr(model, "cached_patcher_init", None) is not None:
            raise
        raise ValueError(
            "model: expected one from a loader of ComfyUI's own, got one that is streamed (dynamic VRAM) and that only "
            "another pack knows how to load; start ComfyUI with --disable-dynamic-vram, or use Load Diffusion Model."
        ) from error
    if getattr(model, "injections", None) and clone.model is not model.model:
        raise ValueError(
            "model: expected one without LoRAs in bypass mode, got one with some that is streamed (dynamic VRAM), and "
            "they would not be applied; put them after Apply Motion, take Load LoRA instead, or start ComfyUI with "
            "--disable-dynamic-vram."
        )
    logging.info(
        "FastVMT: ComfyUI streams this model's weights; guidance has loaded them a second time, to stay in place. "
        "--disable-dynamic-vram saves that."
    )
    return clone


def require_patches_in_place(model: ModelPatcher) -> None:
    """Refuse networks of model patches that the host streams: their gradient would be wrong, see above.

    Raises:
        ValueError: there is one.
    """
    if any(getattr(patch, "is_dynamic", bool)() for patch in model.model_patches_models()):
        raise ValueError(
            "model: expected model patches (ModelPatchLoader) that stay in place, got one that is streamed (dynamic "
            "VRAM); start ComfyUI with --disable-dynamic-vram."
        )


@contextmanager
def gradient_scope(network: torch.nn.Module, *beside: torch.nn.Module) -> Iterator[None]:
    """Let autograd run through `network`, whose weights stay frozen, and leave no trace afterwards.

    `beside` are networks that patches run in between.

    Weights and buffers that are inference tensors are stood in for by tensors over the same storage, so that no second
    copy of the model is held.
    """
    with ExitStack() as scopes:
        scopes.enter_context(torch.inference_mode(False))
        scopes.enter_context(torch.enable_grad())
        # Makes hosts of 2026 and later take the kernels that have a backward.
        scopes.enter_context(_setting(comfy.model_management, "in_training", True))
        # Weights that are brought over by streams of their own may be overwritten before backward has read them.
        scopes.enter_context(_setting(comfy.model_management, "NUM_STREAMS", 0))
        # Products in fp8 (weight_dtype fp8_e4m3fn_fast) have no backward; None has the layer take the other way.
        scopes.enter_context(_setting(comfy.ops, "fp8_linear", lambda *_: None))
        scopes.enter_context(_full_precision_products(network))
        for each in (network, *beside):
            scopes.enter_context(_stand_ins(each))
        yield


def computes_in_float32(base: BaseModel) -> bool:
    """Whether a forward pass of this model is a float32 one already."""
    return (base.manual_cast_dtype or base.get_dtype()) == torch.float32


@contextmanager
def float32_pass(base: BaseModel) -> Iterator[None]:
    """Let the host compute this model in float32, casting weights at use as it does for cards without bfloat16."""
    layers = [module for module in base.diffusion_model.modules() if hasattr(module, "comfy_cast_weights")]
    before = base.manual_cast_dtype
    settings = [(layer, vars(layer).get("comfy_cast_weights")) for layer in layers]
    try:
        base.manual_cast_dtype = torch.float32
        for layer in layers:
            layer.comfy_cast_weights = True
        yield
    finally:
        base.manual_cast_dtype = before
        for layer, own in settings:
            # The setting of the layer's class counts again where it had none of its own.
            if own is None:
                del layer.comfy_cast_weights
            else:
                layer.comfy_cast_weights = own


@contextmanager
def _setting(module: ModuleType, name: str, value: object) -> Iterator[None]:
    """Give something of one of the host's modules another value for a while, where the host has it."""
    if not hasattr(module, name):
        yield
        return
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextmanager
def _full_precision_products(network: torch.nn.Module) -> Iterator[None]:
    """Let quantised layers multiply in the computing dtype: products in fp8 have no backward on older hosts."""
    layers = [layer for layer in network.modules() if getattr(layer, "_full_precision_mm", True) is False]
    try:
        for layer in layers:
            layer._full_precision_mm = True
        yield
    finally:
        for layer in layers:
            layer._full_precision_mm = False


@contextmanager
def _stand_ins(network: torch.nn.Module) -> Iterator[None]:
    """Swap each inference tensor of the module for a stand-in, and put it back whatever happens."""
    swapped: list[tuple[dict[str, Any], str, Any, Any]] = []
    try:
        for module in network.modules():
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    if tensor is not None and tensor.is_inference():
                        swapped.append((held, name, tensor, _stand_in(tensor)))
                        held[name] = swapped[-1][3]
        for adapter in _adapters_around(network):
            held, weights = vars(adapter), adapter.weights
            swapped.append((held, "weights", weights, tuple(_ordinary(part) for part in weights)))
            held["weights"] = swapped[-1][3]
        yield
    finally:
        for held, name, original, stand_in in swapped:
            # Whoever replaced the weight in the meantime (the host's offloading, a hook) keeps what it put there.
            if held.get(name) is stand_in:
                held[name] = original


def _adapters_around(network: torch.nn.Module) -> Iterator[Any]:
    """The adapters of LoRAs in bypass mode, which stand around a layer's forward and hold tensors of their own."""
    for module in network.modules():
        hook = getattr(vars(module).get("forward"), "__self__", None)
        while hook is not None:
            adapter = getattr(hook, "adapter", None)
            if isinstance(getattr(adapter, "weights", None), (tuple, list)):
                yield adapter
            hook = getattr(getattr(hook, "original_forward", None), "__self__", None)


def _ordinary(part: object) -> object:
    return _stand_in(part) if torch.is_tensor(part) and part.is_inference() else part


def _stand_in(tensor: torch.Tensor) -> torch.Tensor:
    """An ordinary tensor over the storage of an inference tensor; a quantised one is stood in for part by part."""
    fresh = _over_parts(tensor) if hasattr(tensor, "__tensor_flatten__") else _over_storage(tensor)
    _take_over_attributes(fresh, tensor)
    if isinstance(tensor, torch.nn.Parameter) and not isinstance(fresh, torch.nn.Parameter):
        fresh = torch.nn.Parameter(fresh, requires_grad=False)
        _take_over_attributes(fresh, tensor)
    return fresh


def _take_over_attributes(fresh: torch.Tensor, tensor: torch.Tensor) -> None:
    """What others have written on the weight; a quantised one's parts are fresh already."""
    for name, value in vars(tensor).items():
        vars(fresh).setdefault(name, value)


def _over_storage(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.as_subclass(torch.Tensor)
    fresh = torch.empty(0, dtype=plain.dtype, device=plain.device)
    fresh = fresh.set_(plain.untyped_storage(), plain.storage_offset(), plain.size(), plain.stride())
    # A class of another pack's (GGUF's) knows what the bytes are, and what to do where they are moved.
    return fresh if type(tensor) in (torch.Tensor, torch.nn.Parameter) else fresh.as_subclass(type(tensor))


def _over_parts(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor subclass that wraps others, by torch's own protocol for taking such apart."""
    names, context = tensor.__tensor_flatten__()
    parts = {name: _stand_in(getattr(tensor, name)) for name in names}
    return type(tensor).__tensor_unflatten__(parts, context, tensor.size(), tensor.stride())
