"""What is drawn for nodes: values for their widgets at and past their limits, clips, masks and tracks."""

from __future__ import annotations

import re
from collections import Counter
from types import SimpleNamespace

import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st

NAMED = re.compile(r"^[A-Za-z_, ]+[0-9]*( [a-z_]+)*(: [a-z_, 0-9]+)*: expected ")
"""How each of our errors begins: what to change, then what was expected."""
SMALL = {
    "width": st.sampled_from([0, 16, 48, 64]),
    "height": st.sampled_from([0, 16, 48, 64]),
    "length": st.sampled_from([0, 1, 4, 5, 9, 13]),
    "steps": st.integers(1, 3),
    "inner_steps": st.integers(1, 3),
    "temporal_span": st.integers(1, 5),
    "window": st.sampled_from([0, 1, 2, 5, 512]),
    "tile_height": st.integers(1, 9),
    "tile_width": st.integers(1, 9),
}
"""Widgets whose largest values only take time."""
TEXTS = [
    "",
    "0",
    "1, 2",
    "0:1, 1:0",
    "[[0, 1], [1, 0]]",
    "x" * 300,
    "\0é\u202e",
    "<img src=x onerror=alert(1)>",
    "../a",
]
DTYPES = st.sampled_from([torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64])


ENDS: Counter[tuple[str, str]] = Counter()
"""How often each node gave a result, or refused."""


class RefusedError(Exception):
    """A node refused what it was given, by name."""


def drawn(share):
    """Settings of a test of `share` draws in .ci/run, and in proportion with other profiles.

    Nothing is shrunk: that takes minutes, and the draw that fails is printed as it is.
    """
    return settings(
        max_examples=max(1, settings.default.max_examples * share // 200), phases=(Phase.explicit, Phase.generate)
    )


class Given:
    """Draws for one chain of nodes: in one chain of four, one widget in ten lies past its limits."""

    def __init__(self, data):
        self.draw = data.draw
        self._past = self.draw(st.integers(0, 3)) == 3

    def to(self, node, **links):
        """Values for a node's widgets, those of `links` aside, and what is linked."""
        return {name: self.draw(values) for name, values in self._widgets(node) if name not in links} | links

    def _widgets(self, node):
        for each in node.define_schema().inputs:
            kind = each.get_io_type()
            if kind in ("INT", "FLOAT"):
                yield each.id, self._number(each, kind == "INT")
            elif kind == "COMBO":
                yield each.id, st.sampled_from(each.options) | (st.just("no such") if self._past else st.nothing())
            elif kind == "BOOLEAN":
                yield each.id, st.booleans()
            elif kind == "STRING":
                yield each.id, st.sampled_from([each.default or "", *TEXTS])

    def _number(self, widget, whole):
        """At the limits, the default, between; past them as a link or a script can give it."""
        if self._past and self.draw(st.integers(0, 9)) == 9:
            above = [] if widget.id in SMALL else [2 * widget.max - widget.min + 1]
            return st.sampled_from([widget.min - 1, *above])
        if widget.id in SMALL:
            return SMALL[widget.id]
        inside = (st.integers if whole else st.floats)(widget.min, widget.max)
        return st.sampled_from([widget.min, widget.max, widget.default]) | st.just(widget.default) | inside


def run(node, **inputs):
    """A node's outputs, as the host runs it; a refusal must be a named one, and any other error passes."""
    node.hidden = SimpleNamespace(unique_id="7", prompt=None, extra_pnginfo=None)
    try:
        with torch.inference_mode():
            outputs = node.execute(**inputs).args
    except ValueError as error:
        if not NAMED.match(str(error)):
            raise
        ENDS[node.__name__, "refused"] += 1
        raise RefusedError(str(error)) from error
    ENDS[node.__name__, "gave a result"] += 1
    return outputs


def noise_of(draw, *shape, dtype=torch.float32):
    """Seeded numbers in [0, 1], or one value throughout; sometimes with one that is not finite."""
    if draw(st.integers(0, 3)) == 3:
        values = torch.full(shape, draw(st.sampled_from([0.0, 0.5, 1.0])))
    else:
        values = torch.rand(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9))))
    if values.numel() and draw(st.integers(0, 11)) == 11:
        values.view(-1)[-1] = draw(st.sampled_from([float("nan"), float("inf"), 1e30]))
    return values.to(dtype)


def clip_of(draw, frames=(1, 2, 5, 9, 14), sides=(1, 17, 32, 64, 130)):
    """(T, H, W, 3), the host's IMAGE; seldom with another number of channels or dimensions."""
    channels = draw(st.sampled_from([3] * 9 + [1, 4]))
    shape = (draw(st.sampled_from(frames)), draw(st.sampled_from(sides)), draw(st.sampled_from(sides)), channels)
    clip = noise_of(draw, *shape, dtype=draw(DTYPES))
    return clip[0] if draw(st.integers(0, 29)) == 29 else clip


def mask_of(draw):
    """(T, H, W), the host's MASK."""
    sides = st.sampled_from([1, 4, 8, 64])
    mask = noise_of(draw, draw(st.integers(0, 9)), draw(sides), draw(sides), dtype=draw(DTYPES)).round()
    return mask[0] if len(mask) and draw(st.integers(0, 9)) == 9 else mask


def tracks_of(draw):
    """Another pack's TRACKS: (T, N, 2) in pixels."""
    path = noise_of(draw, draw(st.sampled_from([0, 1, 2, 13])), draw(st.sampled_from([0, 1, 3])), 2) * 80
    return {"track_path": path, "track_visibility": torch.ones(path.shape[:2], dtype=torch.bool)}
