"""A guided run's losses as JSON. Trap: a script's job has no page that listens, so the log cannot come from there."""

from __future__ import annotations

from typing import Any

from .progress import send

PLAN = ("sigmas", "guided_steps", "inner_steps", "grid")
STEP = ("step", "sigma", "losses", "gradient_evaluations", "gradient_norms", "stopped")


class LossLog:
    """Passes a run's messages on to the page, and keeps what belongs into its log."""

    def __init__(self) -> None:
        self._plan: dict[str, Any] = dict.fromkeys(PLAN)
        self._steps: list[dict[str, Any]] = []

    def send(self, event: str, data: dict[str, Any]) -> None:
        """Keep what belongs into the log of one message, and send the message on."""
        if event == "guidance":
            self._plan = {name: data[name] for name in PLAN}
        elif event == "guided_step":
            self._steps.append({name: data[name] for name in STEP})
        send(event, data)

    @property
    def as_json(self) -> dict[str, Any]:
        """The run's plan (null where nothing was guided), its guided steps, and the gradients that were evaluated."""
        evaluations = sum(step["gradient_evaluations"] for step in self._steps)
        return {**self._plan, "gradient_evaluations": evaluations, "steps": self._steps}
