"""A host that lends weights: each layer gets its own for one call, and they are overwritten right after."""

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
    memory = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
    memory.fill_(0xFF)
