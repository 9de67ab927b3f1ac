"""What the client makes of the server's answers; the real server is in tests/server."""

import json

import pytest
import websocket

from tools.host.client import Client, History, JobError, JobInterrupted, _refusal
from tools.host.patience import Patience, StalledError

SILENCE = None
"""Stands for a time without a message."""


class Socket:
    """A websocket that has already received everything."""

    def __init__(self, *events):
        self.messages = [b"preview"]
        self.messages += [event and json.dumps({"type": event[0], "data": event[1]}) for event in events]

    def recv(self):
        message = self.messages.pop(0)
        if message is SILENCE:
            raise websocket.WebSocketTimeoutException
        return message


def follow(*events, patience=None):
    client, seen = Client("http://127.0.0.1:1", patience), []
    client._socket = Socket(*events)
    client.follow("mine", lambda kind, data: seen.append(kind))
    return seen


def test_follow_passes_every_event_on_and_ends_with_its_own_job():
    other = ("executing", {"node": None, "prompt_id": "other"})
    custom = ("fastvmt.guidance", {"node": "4"})
    end = ("executing", {"node": None, "prompt_id": "mine"})
    assert follow(other, custom, end, other) == ["executing", "fastvmt.guidance", "executing"]


def test_silence_between_messages_is_waited_out_and_a_silence_without_end_is_not():
    impatient = Patience(quiet=0.0, checks=3)
    other, end = (("executing", {"node": None, "prompt_id": prompt}) for prompt in ("other", "mine"))
    quiet = (SILENCE, SILENCE)
    assert follow(*quiet, other, *quiet, other, *quiet, end, patience=impatient) == ["executing"] * 3
    with pytest.raises(StalledError, match="the end of job mine"):
        follow(other, *quiet, SILENCE, end, patience=impatient)


def test_the_history_of_a_job_is_waited_for_while_the_server_has_the_job(monkeypatch):
    filed = {"mine": {"outputs": {"9": {}}}}
    answers = iter([{}, {"queue_running": [[0, "mine"]], "queue_pending": []}, filed])
    client = Client("http://127.0.0.1:1")
    monkeypatch.setattr(client, "_get", lambda path: Answer(next(answers)))
    assert client.history("mine").outputs == {"9": {}}
    # Between two questions it can go from the queue to the history.
    answers = iter([{}, {"queue_running": [], "queue_pending": []}, filed, filed])
    assert client.history("mine").outputs == {"9": {}}
    answers = iter([{}, {"queue_running": [], "queue_pending": []}, {}])
    with pytest.raises(JobError, match="no job mine"):
        client.history("mine")


class Answer:
    """An answer of the server."""

    def __init__(self, content):
        self.json = lambda: content


def test_a_failed_node_is_a_job_error():
    data = {"prompt_id": "mine", "node_type": "N", "exception_message": "bad\n", "exception_type": "ValueError"}
    with pytest.raises(JobError, match="N: bad") as caught:
        follow(("execution_error", data))
    assert caught.value.exception_type == "ValueError"


def test_a_cancelled_job_is_an_error_of_its_own():
    with pytest.raises(JobInterrupted):
        follow(("execution_interrupted", {"prompt_id": "mine", "node_type": "N"}))


def test_a_refused_graph_names_the_node_and_what_is_wrong():
    errors = [{"message": "Value not in list", "details": "file: 'a.mp4'"}]
    error = _refusal({"error": {"message": "x"}, "node_errors": {"3": {"class_type": "LoadVideo", "errors": errors}}})
    assert str(error) == "LoadVideo: Value not in list file: 'a.mp4'"
    assert str(_refusal({"error": {"message": "Prompt has no outputs", "details": ""}})) == "Prompt has no outputs"


def test_files_are_found_whatever_the_node_calls_them():
    file = {"filename": "a.png", "subfolder": "", "type": "output"}
    history = History("mine", {"9": {"images": [file], "animated": [True]}})
    assert history.files("9") == [file] and history.files("8") == []
