"""A host that lends weights: each layer gets its own for one call, and they are overwritten right after."""

from types import SimpleNamespace

import torch


class LendingHost:
    """Stands in for dynamic VRAM on a CPU, in the place of the host's own cast and un-cast.

    On a card the layers' weights lie in VRAM that the host takes back after each call. Here they lie in fresh memory
    that is filled with NaN after it, past autograd's own checks, as another layer's weights would overwrite it.
    """

    def __init__(self, monkeypatch, *networks):
        import comfy.ops

        self.lent = 0
        """Leases that nobody has given back."""
        self.calls = 0
        self._cast = comfy.ops.cast_bias_weight
        monkeypatch.setattr(comfy.ops, "cast_bias_weight", self.cast)
        monkeypatch.setattr(comfy.ops, "uncast_bias_weight", self.uncast)
        for network in networks:
            for module in network.modules():
                if hasattr(module, "comfy_cast_weights"):
                    # As the host's own loader of such models does: every layer asks for its weights at use.
                    monkeypatch.setattr(module, "comfy_cast_weights", True)

    def cast(self, layer, input=None, dtype=None, device=None, bias_dtype=None, offloadable=False, **more):
        """The host's cast, out of memory that is taken back."""
        weight, bias, _ = self._cast(layer, input, dtype, device, bias_dtype, offloadable=True, **more)
        lent = Lease(tensor if tensor is None else tensor.clone() for tensor in (weight, bias))
        self.lent, self.calls = self.lent + 1, self.calls + 1
        return (*lent, lent) if offloadable else (*lent,)

    def uncast(self, layer, weight, bias, lease):
        """Take the memory back."""
        if lease is None:
            return
        self.lent -= 1
        for tensor in lease:
            if tensor is not None:
                for part in parts(tensor):
                    overwrite(part)


class Lease(tuple):
    """(weight, bias) that were lent."""


def parts(tensor):
    """The tensors that a weight is made of."""
    if hasattr(tensor, "__tensor_flatten__"):
        return [part for name in tensor.__tensor_flatten__()[0] for part in parts(getattr(tensor, name))]
    return [tensor]


def overwrite(tensor):
    """Fill a tensor's memory with bytes that are NaN in every floating dtype, unseen by autograd."""
    alias(tensor).fill_(0xFF)


CARD = torch.device("cpu", 0)
"""The CPU under a name that differs from its usual one, so that a host takes it for a card."""


def streams_weights():
    """Whether this host has dynamic VRAM."""
    import comfy.model_patcher

    return hasattr(comfy.model_patcher, "ModelPatcherDynamic")


def streamed(model, monkeypatch):
    """(the model under the host's own patcher for dynamic VRAM, Lender) on a CPU that is taken for a card.

    The host leaves its pages on the layers, so that no other test can use the model.

    All is the host's but the VRAM itself, whose pages are lost as soon as they are no longer pinned.
    """
    import comfy.model_management
    import comfy.model_patcher
    import comfy.ops
    import comfy_aimdo.host_buffer
    import comfy_aimdo.model_vbar
    import comfy_aimdo.torch
    from comfy.cli_args import args

    lender, is_cpu, cast = Lender(), comfy.model_management.is_device_cpu, comfy.ops.cast_bias_weight

    def cast_to_card(layer, input=None, dtype=None, device=None, *others, **more):
        return cast(layer, input, dtype, CARD if device is None else device, *others, **more)

    monkeypatch.setattr(args, "disable_pinned_memory", True)
    monkeypatch.setattr(comfy.model_management, "is_device_cpu", lambda device: device != CARD and is_cpu(device))
    monkeypatch.setattr(comfy.ops, "cast_bias_weight", cast_to_card)
    monkeypatch.setattr(comfy_aimdo.host_buffer, "HostBuffer", lambda *_: SimpleNamespace(size=0))
    monkeypatch.setattr(comfy_aimdo.model_vbar, "ModelVBAR", lambda *_: lender)
    monkeypatch.setattr(comfy_aimdo.model_vbar, "vbar_fault", lender.fault)
    monkeypatch.setattr(comfy_aimdo.model_vbar, "vbar_unpin", lender.unpin)
    monkeypatch.setattr(comfy_aimdo.model_vbar, "vbar_signature_compare", lambda a, b: a is not None and a == b)
    monkeypatch.setattr(comfy_aimdo.torch, "aimdo_to_tensor", lambda page, _: alias(lender.memory[page[1]]))
    patcher = comfy.model_patcher.ModelPatcherDynamic(model.model, CARD, torch.device("cpu"))
    patcher.patches, patcher.patches_uuid = dict(model.patches), model.patches_uuid
    return patcher, lender


class Lender:
    """VRAM of which a page lasts from its fault to its unpin."""

    def __init__(self):
        self.faults, self.pinned, self.memory, self._end = 0, 0, {}, 0

    def alloc(self, size):
        """A page as the host knows one: (whose, first byte, bytes)."""
        page, self._end = (self, self._end, size), self._end + size
        self.memory[page[1]] = torch.full((size,), 0xFF, dtype=torch.uint8)
        return page

    def fault(self, page):
        """A signature that no other fault has: nothing is resident."""
        self.faults, self.pinned = self.faults + 1, self.pinned + 1
        return self.faults

    def unpin(self, page):
        """Take a page back."""
        self.pinned -= 1
        overwrite(self.memory[page[1]])

    def prioritize(self):
        pass

    def loaded_size(self):
        return 0

    def free_memory(self, size):
        return 0


def alias(tensor):
    """Another tensor over the same bytes."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
