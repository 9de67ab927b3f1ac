"""The counted cost of a guided step: FLOPs, and bytes that elementwise work moves.

A multiplication and an addition are two FLOPs. Attention's backward is 2.5 times its forward, as fused kernels compute
it (they find the attention again); that of all else, to the latent alone, is once its forward, because frozen
weights get no gradient. Rates of a device (benchmarks/speed/guidance.py measures them) make seconds of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from fastvmt_core.budget.time import ATTENTION_BACKWARD

MOVED_VALUES = 41
"""Values a token and channel that one block's norms, modulations, rotations and residuals read and write in forward,
counted in the host's block; the gelu moves two more a channel of the feed-forward layer."""
ATTENTION_MOVED = 18
"""Of those, norms, rotation and rearranging of the self-attention's q, k and output."""
MOVED_BACKWARD = 1.5
"""Their backward's moves over their forward's: it also reads the kept activations."""
FLOW_PRODUCTS = 4
"""Products of one pair of frames: one in forward; one again, and one each for q and k, in backward."""
TEXT = 512
"""Tokens of a prompt, which the text encoder pads to."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a Wan and of the clip in it."""

    dim: int
    """Channels of a token."""
    ffn_dim: int
    """Channels of the feed-forward layer."""
    depth: int
    """Blocks."""
    grid: tuple[int, int, int]
    """Tokens of the clip: latent frames, rows, columns."""
    text: int = TEXT
    """Tokens of the prompt."""
    bytes_per_value: int = 2
    """Of the dtype that is computed in."""

    @property
    def tokens(self) -> int:
        """L, tokens of the clip."""
        frames, rows, columns = self.grid
        return frames * rows * columns

    @property
    def attention(self) -> float:
        """FLOPs of one block's self-attention: two products of L x L x dim."""
        return 4 * self.tokens**2 * self.dim

    @property
    def cross_attention(self) -> float:
        """FLOPs of one block's attention to the prompt."""
        return 4 * self.tokens * self.text * self.dim

    @property
    def projections(self) -> float:
        """FLOPs of one block's linear layers: q, k, v, o, cross-attention's four and the feed-forward's two."""
        own = 2 * self.tokens * self.dim * (6 * self.dim + 2 * self.ffn_dim)
        return own + 4 * self.text * self.dim**2

    @property
    def block(self) -> float:
        """FLOPs of one block's forward."""
        return self.attention + self.cross_attention + self.projections

    @property
    def moved(self) -> float:
        """Bytes that one block's elementwise work reads and writes in forward."""
        return self.tokens * self.bytes_per_value * (MOVED_VALUES * self.dim + 2 * self.ffn_dim)


@dataclass(frozen=True)
class Work:
    """Work by its kind, which can be added and multiplied."""

    products: float = 0.0
    """FLOPs of matrix products."""
    attention: float = 0.0
    """FLOPs of attention's forward."""
    attention_backward: float = 0.0
    """FLOPs of attention's backward."""
    moved: float = 0.0
    """Bytes that elementwise work reads and writes."""

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Work)))

    def __mul__(self, times: float) -> Work:
        return Work(*(getattr(self, field.name) * times for field in fields(Work)))

    @property
    def tflop(self) -> float:
        """TFLOP in all."""
        return (self.products + self.attention + self.attention_backward) / 1e12

    def seconds(self, rates: Rates) -> float:
        """Seconds on a device of these rates."""
        return (
            self.products / rates.products
            + self.attention / rates.attention
            + self.attention_backward / rates.attention_backward
            + self.moved / rates.moved
        )


@dataclass(frozen=True)
class Rates:
    """The measured rates of a device at the shapes in question."""

    products: float
    """FLOP/s of the block's own matrix products: the ceiling."""
    attention: float
    """FLOP/s of attention's forward."""
    attention_backward: float
    """FLOP/s of attention's backward, counted as 2.5 times its forward."""
    moved: float
    """Bytes a second of elementwise work."""


def block_forward(shape: Shape) -> Work:
    """One block."""
    return Work(shape.projections, shape.attention + shape.cross_attention, 0.0, shape.moved)


def block_backward(shape: Shape) -> Work:
    """Backward through one block to its tokens alone; the prompt's keys and values have no gradient of their own."""
    back = ATTENTION_BACKWARD * (shape.attention + shape.cross_attention)
    prompt = 4 * shape.text * shape.dim**2
    return Work(shape.projections - prompt, 0.0, back, MOVED_BACKWARD * shape.moved)


def queries_and_keys(shape: Shape) -> Work:
    """q and k of a block, the part of the last block that a guided pass needs."""
    return Work(products=4 * shape.tokens * shape.dim**2)


def flow(shape: Shape, span: int = 4, window: int | None = 21) -> Work:
    """Attention motion flow, forward and backward, of pairs up to `span` frames apart.

    A pair (i, i) takes the whole frame, another one the band that its windows cover: along the side of which they cover
    the smaller share, about twice what the window does at most.
    """
    frames, rows, columns = shape.grid
    pairs = sum(frames - gap for gap in range(1, min(span, frames)))
    share = 1.0 if window is None else min(1.0, 1.4 * min(min(window, rows) / rows, min(window, columns) / columns))
    return Work(products=FLOW_PRODUCTS * (frames + share * pairs) * 2 * (rows * columns) ** 2 * shape.dim)


def global_flow(shape: Shape) -> Work:
    """DiTFlow's: every ordered pair of frames, each computed again in backward."""
    frames, rows, columns = shape.grid
    return Work(products=FLOW_PRODUCTS * frames**2 * 2 * (rows * columns) ** 2 * shape.dim)


def gradient(
    shape: Shape, forward: float, backward: float, recomputed: float = 0, attention_recomputed: float = 0
) -> Work:
    """One gradient: blocks that run forward, backward, once more for backward, and whose attention alone does so."""
    # A block's self-attention once more, its q, k and v included but not what comes after it.
    products, moved = (
        6 * shape.tokens * shape.dim**2,
        ATTENTION_MOVED * shape.tokens * shape.dim * shape.bytes_per_value,
    )
    again = Work(products=products, attention=shape.attention, moved=moved) * attention_recomputed
    return block_forward(shape) * (forward + recomputed) + block_backward(shape) * backward + again


def plain_step(shape: Shape, branches: int = 2) -> Work:
    """One denoising step: every block for each branch of CFG."""
    return block_forward(shape) * (shape.depth * branches)


def our_step(shape: Shape, block: int, gradients: int, recomputed: int = 0, window: int | None = 21) -> Work:
    """A guided step of ours: each gradient goes through the blocks before `block` and ends at its q and k."""
    last = queries_and_keys(shape) * 2 + flow(shape, window=window)
    return (gradient(shape, block, block, recomputed) + last) * gradients


def released_step(shape: Shape, block: int, run: int, gradients: int, window: int | None = 21) -> Work:
    """A guided step of the released schedule, as its code does it.

    `run` blocks forward; those up to `block`, which the loss depends on, are recomputed, and their self-attention once
    more, since it is a checkpoint inside the block's; backward goes through the blocks before `block`. One pass of
    `run` blocks for the reference.
    """
    last = queries_and_keys(shape) + flow(shape, window=window)
    one = gradient(shape, run, block, block + 1, block + 1) + last
    return one * gradients + block_forward(shape) * run


def global_step(shape: Shape, block: int, gradients: int) -> Work:
    """A guided step in DiTFlow's manner: every block runs, all are checkpointed, all pairs of frames are matched."""
    one = gradient(shape, shape.depth, block, block + 1) + queries_and_keys(shape) + global_flow(shape)
    return one * gradients
