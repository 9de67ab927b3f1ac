"""The progress bar, messages to the page, and cancel. Trap: the host's own callback moves the same bar, so inner
steps move it by fractions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from server import PromptServer

SendMessage = Callable[[str, dict[str, Any]], None]
"""Is given an event's name and its data, which is plain JSON."""


def raise_if_cancelled(_: object = None) -> None:
    """Raise the host's interruption when the user pressed cancel. Takes and ignores a tensor hook's gradient."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def watch_cancel(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor`, at which the forward pass stops if the user cancelled, and the backward pass again."""
    raise_if_cancelled()
    if tensor.requires_grad:
        tensor.register_hook(raise_if_cancelled)
    return tensor


def bar_of(count: int) -> Callable[[], None]:
    """Moves a node's bar to its end in `count` calls; each stops the node if the user cancelled."""
    bar = comfy.utils.ProgressBar(count)

    def one_done() -> None:
        raise_if_cancelled()
        bar.update(1)

    return one_done


class StepBar:
    """The sampling node's bar over denoising steps, filled in between by inner steps."""

    def __init__(self, denoising_steps: int, inner_steps: int) -> None:
        self._bar = comfy.utils.ProgressBar(denoising_steps)
        # The denoising that follows the inner steps is the last part of a step.
        self._parts = inner_steps + 1

    def inner_step_done(self, step: int, inner: int) -> None:
        """Move to the end of inner step `inner` of denoising step `step`, both from 0."""
        self._bar.update_absolute(step + (inner + 1) / self._parts)


def show_text(node_id: str | None, text: str) -> None:
    """Show a line on a node of the page, where the host can."""
    server = getattr(PromptServer, "instance", None)
    send_text = getattr(server, "send_progress_text", None)
    if send_text is not None and node_id is not None and server.client_id is not None:
        send_text(text, node_id, server.client_id)


def send(event: str, data: dict[str, Any]) -> None:
    """Send a message to the client that queued the job, if one listens."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and server.client_id is not None:
        server.send_sync(f"fastvmt.{event}", data, server.client_id)
