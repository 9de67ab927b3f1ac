"""Messages of a guided run to the page. Trap: messages cost the run its time, so inner steps are sent in bundles and
flows a few times a minute, coarse enough to draw."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ....fastvmt_core.budget.time import TimeLeft
from ....fastvmt_core.motion.fields import cheap_frame_flow_of
from ....fastvmt_core.viz.arrows import arrows
from .latent_picture import latent_picture
from .progress import SendMessage, send

if TYPE_CHECKING:
    from comfy.latent_formats import LatentFormat
    from torch import Tensor

    from ....fastvmt_core.guidance.optimizer import GuidanceLog, InnerStep
    from ....fastvmt_core.motion.embedding import MotionEmbedding

BUNDLE_SECONDS = 0.1
"""Inner steps that follow each other faster are sent together."""
FLOW_SECONDS = 2.0
"""Within a guided step, the flow is sent no more often than this; at its end always."""
PICTURE_SECONDS = 1.0
"""The video so far is sent no more often than this."""


class GuidanceReport:
    """The messages of one sampler run under guidance.

    Args:
        node_id: the node that the page shows them on.
        motion: the reference's motion.
        levels: the run's sigmas.
        steps: its guided steps.
        inner_steps: J of each.
        send_message: where the messages go.
        clock: seconds, from any start.
    """

    def __init__(
        self,
        node_id: str | None,
        motion: MotionEmbedding,
        levels: list[float],
        steps: tuple[int, ...],
        inner_steps: int,
        send_message: SendMessage = send,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node, self._motion, self._levels, self._clock = node_id, motion, levels, clock
        self._send_message = send_message
        self._steps, self._inner_steps = steps, inner_steps
        self._left = TimeLeft(len(levels) - 1, steps, inner_steps, clock)
        self._bundle: list[InnerStep] = []
        self._sent = self._flow_sent = clock()
        self._picture_sent: float | None = None

    def run_begins(self, memory: dict[str, Any] | None = None) -> None:
        """Send the run's plan, what its gradients will cost, and the reference's arrows."""
        self._send(
            "guidance",
            sigmas=self._levels,
            guided_steps=list(self._steps),
            inner_steps=self._inner_steps,
            grid=list(self._motion.grid.as_tuple),
            memory=memory,
            reference=arrows(cheap_frame_flow_of(self._motion)[0]),
        )

    def step_begins(self, step: int) -> None:
        """Send that a denoising step begins, guided or not."""
        self._left.step_begins(step)
        self._bundle, self._flow_sent = [], self._clock()
        self._send("step", step=step, guided=step in self._steps, seconds_left=self._left.seconds)

    def inner_step(self, step: int, number: int, inner: InnerStep, moves: Tensor | None) -> None:
        """Send that inner step `number` of a guided step is done; `moves` (F - 1, H, W, 2) is how its latent moves."""
        self._left.inner_step_done()
        self._bundle.append(inner)
        now = self._clock()
        if number + 1 < self._inner_steps and now - self._sent < BUNDLE_SECONDS:
            return
        drawn = moves is not None and now - self._flow_sent >= FLOW_SECONDS
        self._send(
            "inner_steps",
            step=step,
            first=number + 1 - len(self._bundle),
            losses=[each.loss for each in self._bundle],
            fresh=[each.fresh for each in self._bundle],
            seconds_left=self._left.seconds,
            flow=arrows(moves) if drawn else None,
        )
        self._sent, self._flow_sent, self._bundle = now, now if drawn else self._flow_sent, []

    def step_guided(self, step: int, log: GuidanceLog, moves: Tensor | None) -> None:
        """Send that a step's guidance is done; its ordinary denoising follows."""
        self._left.guidance_done()
        self._send(
            "guided_step",
            step=step,
            sigma=self._levels[step],
            losses=log.losses,
            gradient_evaluations=log.gradient_evaluations,
            gradient_norms=[inner.gradient_norm for inner in log.steps],
            stopped=log.stopped,
            seconds_left=self._left.seconds,
            flow=None if moves is None else arrows(moves),
        )

    def denoised(self, latent_format: LatentFormat, latent: Tensor) -> None:
        """Send what the video looks like so far: a step's prediction (B, C, F, h, w) of the clean latent."""
        now, frames = self._clock(), self._motion.grid.frames
        if self._picture_sent is not None and now - self._picture_sent < PICTURE_SECONDS:
            return
        self._picture_sent = now
        self._send("picture", frames=frames, picture=latent_picture(latent_format, latent, frames))

    def run_ends(self) -> None:
        """Send that the run is at its end; what the job goes on with is others' work."""
        self._send("sampled")

    def _send(self, event: str, **data: object) -> None:
        self._send_message(event, {"node": self._node, **data})
