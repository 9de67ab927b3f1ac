"""A client of ComfyUI's HTTP and websocket interface. Needs requests and websocket-client."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import websocket

from tools.host.patience import Patience, server_sign

Graph = dict[str, dict[str, Any]]
"""A graph in API format: node id -> {"class_type", "inputs"}."""
OnEvent = Callable[[str, dict[str, Any]], None]
"""Called with every event's type and data; events that nodes send themselves come through it too."""


class JobError(RuntimeError):
    """A graph that was refused, or ended with an error in one of its nodes."""

    def __init__(self, node_type: str, message: str, exception_type: str, traceback: str = "") -> None:
        super().__init__(f"{node_type}: {message}" if node_type else message)
        self.node_type = node_type
        self.message = message
        self.exception_type = exception_type
        self.traceback = traceback


class JobInterrupted(JobError):
    """A graph that somebody cancelled."""


@dataclass(frozen=True)
class History:
    """What a finished graph left behind: ``outputs`` is node id -> the node's UI output."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]

    def files(self, node_id: str) -> list[dict[str, str]]:
        """The files that ``node_id`` saved, each for ``Client.view``; in the order of saving."""
        return [
            entry
            for entries in self.outputs.get(node_id, {}).values()
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict) and "filename" in entry
        ]


CHECK_SECONDS = 1.0
"""Between two checks whether the server still works."""


class Client:
    """One client of the server at ``url``.

    It waits as long as the server sends messages or uses the CPU; ``patience`` decides when to give up, with a
    StalledError, and by default follows both.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self.url = url.rstrip("/")
        self.client_id = uuid.uuid4().hex
        self._patience = patience or Patience([server_sign(self.url)])
        self._session = requests.Session()
        # A proxy for the outside, set in the environment, knows nothing of this machine's loopback.
        self._session.trust_env = False
        self._socket: websocket.WebSocket | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._session.close()

    def system_stats(self) -> dict[str, Any]:
        """The server's versions and devices."""
        return self._get("/system_stats").json()

    def object_info(self) -> dict[str, Any]:
        """Every node type's inputs and outputs."""
        return self._get("/object_info").json()

    def node_replacements(self) -> dict[str, Any]:
        """By old node id: what the host puts in its place; none where the host has no replacements."""
        answer = self._ask("GET", "/node_replacements")
        return answer.json() if answer.ok else {}

    def upload_input(self, path: Path) -> str:
        """Put a file into the server's input folder; returns the name that loader nodes know it by."""
        with path.open("rb") as file:
            answer = self._ask("POST", "/upload/image", files={"image": (path.name, file)})
        answer.raise_for_status()
        return answer.json()["name"]

    def queue(self, graph: Graph) -> str:
        """Put a graph into the server's queue; returns its prompt id. Raises JobError if the server refuses it."""
        # Connected first, or the events of a quick graph would be over before anybody listens.
        self._connect()
        body = {"prompt": graph, "client_id": self.client_id}
        answer = self._ask("POST", "/prompt", json=body)
        if answer.status_code == requests.codes.bad_request:
            raise _refusal(answer.json())
        answer.raise_for_status()
        return answer.json()["prompt_id"]

    def follow(self, prompt_id: str, on_event: OnEvent | None = None) -> None:
        """Wait until the graph has ended, passing on events as they come. Raises JobError if it failed."""
        connection = self._connect()
        self._patience.start(f"the end of job {prompt_id}")
        while True:
            try:
                message = connection.recv()
            except websocket.WebSocketTimeoutException:
                self._patience.check()
                continue
            self._patience.moved()
            if isinstance(message, bytes):
                continue  # A preview image.
            event = json.loads(message)
            kind, data = event["type"], event.get("data", {})
            if on_event is not None:
                on_event(kind, data)
            if data.get("prompt_id") != prompt_id:
                continue
            if kind == "execution_error":
                trace = "".join(data.get("traceback", []))
                raise JobError(data["node_type"], data["exception_message"].strip(), data["exception_type"], trace)
            if kind == "execution_interrupted":
                raise JobInterrupted(data.get("node_type", ""), "the job was cancelled", "interrupted")
            if kind == "executing" and data["node"] is None:
                return

    def run(self, graph: Graph, on_event: OnEvent | None = None) -> History:
        """Queue a graph and wait for its end. Raises JobError if it is refused or fails."""
        prompt_id = self.queue(graph)
        self.follow(prompt_id, on_event)
        return self.history(prompt_id)

    def history(self, prompt_id: str) -> History:
        """What a finished graph left behind."""
        while (outputs := self._outputs(prompt_id)) is None:
            # The server reports the end of a graph a moment before it moves it from its queue to the history.
            if not self._is_queued(prompt_id) and self._outputs(prompt_id) is None:
                raise JobError("", f"the server has no job {prompt_id}", "missing")
            time.sleep(0.1)
        return History(prompt_id, outputs)

    def _outputs(self, prompt_id: str) -> dict[str, dict[str, Any]] | None:
        entry = self._get(f"/history/{prompt_id}").json().get(prompt_id)
        return None if entry is None else entry["outputs"]

    def _is_queued(self, prompt_id: str) -> bool:
        queue = self._get("/queue").json()
        return any(job[1] == prompt_id for jobs in queue.values() for job in jobs)

    def interrupt(self) -> None:
        """Ask the server to cancel the graph that is being executed."""
        self._ask("POST", "/interrupt").raise_for_status()

    def view(self, file: dict[str, str]) -> bytes:
        """The content of a file that a node saved (an entry of ``History.files``)."""
        parameters = {key: file[key] for key in ("filename", "subfolder", "type") if key in file}
        return self._get("/view", parameters).content

    def _get(self, path: str, parameters: dict[str, str] | None = None) -> requests.Response:
        answer = self._ask("GET", path, params=parameters)
        answer.raise_for_status()
        return answer

    def _ask(self, method: str, path: str, **content: Any) -> requests.Response:  # noqa: ANN401  (of requests)
        # Without a timeout: a starved server answers late, and patience notices one that never will.
        call = partial(self._session.request, method, f"{self.url}{path}", timeout=None, **content)
        return self._patience.during(f"the answer to {method} {path}", call, every=CHECK_SECONDS)

    def _connect(self) -> websocket.WebSocket:
        if self._socket is None:
            address = f"ws{self.url.removeprefix('http')}/ws?clientId={self.client_id}"
            connect = partial(websocket.create_connection, address, http_no_proxy=["127.0.0.1"])
            self._socket = self._patience.during("a websocket", connect, every=CHECK_SECONDS)
            self._socket.settimeout(CHECK_SECONDS)
        return self._socket


def _refusal(answer: dict[str, Any]) -> JobError:
    """The JobError for a graph that did not pass validation; the first node that is at fault speaks."""
    for node in answer.get("node_errors", {}).values():
        message = "; ".join(" ".join(filter(None, (e["message"], e.get("details")))) for e in node["errors"])
        return JobError(node["class_type"], message, "validation")
    error = answer.get("error", {})
    if isinstance(error, str):
        return JobError("", error, "validation")
    message = " ".join(filter(None, (error.get("message"), error.get("details"))))
    return JobError("", message or "the server refused the graph", "validation")
