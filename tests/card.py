"""A device that is not the CPU, on the CPU: `card:0`, by torch's Python backend. It refuses to mix devices as a real
card does, counts what crosses to it and back, and has neither fused attention nor a module `torch.card` (as DirectML).

A process can have it only if nothing was differentiated there before, so that tests run on it in one of their own.
"""

import functools
import sys
import types
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
NAME = "card"
CROSSINGS = Counter()
"""By kind: copies "to the card" and "from the card", and "waits", where Python needs what the card computes."""
WAITS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.bincount.default,
    aten.repeat_interleave.Tensor,
}
"""Operations whose result, or its size, a card must hand to Python."""
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Operations that take indices from the CPU too, and copy them."""
COPIES = {aten.copy_.default, aten._to_copy.default}
KEY = "PrivateUse1"
ALONE = (
    # torch.tensor copies with Python's own dispatch turned off.
    aten.copy_.default,
    # These are made empty first and then resized, which a wrapper cannot be.
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.linspace.default,
)
"""Operations that are registered one by one."""
_library: list[torch.library.Library] = []
"""Registrations last as long as these objects."""


_by_storage: WeakValueDictionary[int, torch.Tensor] = WeakValueDictionary()
"""Tensors on the card by the address of their storage, which is empty."""


_data_ptr = torch.UntypedStorage.data_ptr


def _address(storage):
    """The address of a storage; of one on the card, where its tensor's values lie."""
    on_card = _by_storage.get(storage._cdata)
    return _data_ptr(storage if on_card is None else on_card.values.untyped_storage())


class CardTensor(torch.Tensor):
    """A tensor on the card; its values lie in `values`, on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values):
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset(), "dtype": values.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, values.size(), device=torch.device(NAME, 0), **layout)
        made.values = values
        _by_storage[made.untyped_storage()._cdata] = made
        return made

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # Inference mode hands over whole what is made of other operations.
        result = operation.decompose(*args, **kwargs)
        return _run(operation, args, kwargs) if result is NotImplemented else result

    def data_ptr(self):
        """Where the values lie."""
        return self.values.data_ptr()

    def __repr__(self):
        return f"CardTensor({tuple(self.shape)}, {self.dtype})"


def _run(operation, args, kwargs):
    """An operation's result, computed on the CPU by the tensors' values."""
    if operation is aten._fused_sdp_choice.default:
        raise NotImplementedError("there is no fused attention on the card")
    if operation is aten.set_.source_Storage_storage_offset:
        return _set(*args)
    if operation is aten._has_compatible_shallow_copy_type.default:
        # A module that is moved gets new parameters.
        return False
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    _require_one_device(operation, args, given, kwargs)
    device = kwargs.get("device")
    if device is not None:
        device = torch.device(device)
        kwargs = {**kwargs, "device": "cpu"}
    elif operation is aten.copy_.default:
        device = args[0].device
    _count(operation, args, given, device)
    bare = [tree_map(_values, part) for part in (args, kwargs)]
    result = operation(*bare[0], **bare[1])
    on_cpu = device is not None and device.type == "cpu"
    wrappers = {id(tensor.values): tensor for tensor in given if isinstance(tensor, CardTensor)}

    def wrapped(value):
        if not isinstance(value, torch.Tensor) or on_cpu:
            return value
        own = wrappers.get(id(value))
        if own is None:
            return CardTensor(value)
        assert own.shape == value.shape and own.stride() == value.stride(), f"{operation} changes a layout in place"
        return own

    return tree_map(wrapped, result)


def _set(tensor, storage, offset, size, stride):
    """`tensor`, now over the values that lie in a storage of another."""
    other = CardTensor(_by_storage[storage._cdata].values.as_strided(size, stride, offset))
    with torch._C._DisableTorchDispatch():
        tensor.data = other
    tensor.values = other.values
    return tensor


def _values(leaf):
    return leaf.values if isinstance(leaf, CardTensor) else leaf


def _require_one_device(operation, args, given, kwargs):
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type != NAME:
        raise RuntimeError(f"{operation}: expected a '{NAME}' generator, found '{generator.device.type}'")
    if operation in COPIES:
        return
    if operation in INDEXED:
        given = [tensor for tensor in given if not any(tensor is index for index in args[1])]
    if any(isinstance(tensor, CardTensor) for tensor in given):
        others = [tensor for tensor in given if not isinstance(tensor, CardTensor) and tensor.ndim > 0]
        if others:
            raise RuntimeError(f"{operation}: expected all tensors on {NAME}:0, found {len(others)} on the CPU")


def _count(operation, args, given, device):
    from_card = any(isinstance(tensor, CardTensor) for tensor in given)
    if operation is aten.copy_.default:
        target, source = (isinstance(tensor, CardTensor) for tensor in args[:2])
        if target != source:
            CROSSINGS["to the card" if target else "from the card"] += 1
    elif operation is aten._to_copy.default and device is not None and from_card != (device.type == NAME):
        CROSSINGS["from the card" if from_card else "to the card"] += 1
    elif operation in INDEXED and from_card:
        indices = [index for index in args[1] if index is not None]
        CROSSINGS["to the card"] += sum(not isinstance(index, CardTensor) for index in indices)
        CROSSINGS["waits"] += sum(index.dtype in (torch.bool, torch.uint8) for index in indices)
    elif operation in WAITS and from_card:
        CROSSINGS["waits"] += 1


def register():
    """Make `card:0` a device of this process."""
    torch.utils.rename_privateuse1_backend(NAME)
    torch.UntypedStorage.data_ptr = _address
    # Torch imports this module before the first tensor; it is no attribute of torch, as DirectML's is none.
    module = types.ModuleType(f"torch.{NAME}")
    module._lazy_init = lambda: None
    sys.modules[f"torch.{NAME}"] = module
    torch._C._acc.register_python_privateuseone_hook(backend_registration._DummyPrivateUse1Hook())
    torch._C._acc.register_python_privateuseone_device_guard(backend_registration._DummyDeviceGuard())
    everything, single = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(lambda operation, *args, **kwargs: _run(operation, args, kwargs), KEY)
    for operation in ALONE:
        single.impl(operation, functools.partial(lambda op, *args, **kwargs: _run(op, args, kwargs), operation), KEY)
    _library.extend((everything, single))


def crossings(function):
    """(result, crossings by kind) of one call."""
    before = Counter(CROSSINGS)
    result = function()
    return result, dict(CROSSINGS - before)


@contextmanager
def process():
    """One process that has the card: calls a function of a module there, with its arguments."""
    with ProcessPoolExecutor(1, get_context("spawn"), register) as pool:
        before = list(sys.path)
        # A spawned process looks where this one does; ComfyUI has a package `tests`, which would be found in our place.
        sys.path[:] = [folder for folder in before if not Path(folder, "tests/__init__.py").exists()]
        try:
            pool.submit(int).result()
        finally:
            sys.path[:] = before
        yield lambda function, *args: pool.submit(function, *args).result()
