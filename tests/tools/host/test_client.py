"""What the client makes of the server's answers; the real server is in tests/server."""

import json

import pytest

from tools.host.client import Client, History, JobError, JobInterrupted, _refusal


class Socket:
    """A websocket that has already received everything."""

    def __init__(self, *events):
        self.messages = [b"preview"] + [json.dumps({"type": kind, "data": data}) for kind, data in events]

    def recv(self):
        return self.messages.pop(0)


def follow(*events):
    client, seen = Client("http://127.0.0.1:1"), []
    client._socket = Socket(*events)
    client.follow("mine", lambda kind, data: seen.append(kind))
    return seen


def test_follow_passes_every_event_on_and_ends_with_its_own_job():
    other = ("executing", {"node": None, "prompt_id": "other"})
    custom = ("fastvmt.guidance", {"node": "4"})
    end = ("executing", {"node": None, "prompt_id": "mine"})
    assert follow(other, custom, end, other) == ["executing", "fastvmt.guidance", "executing"]


def test_a_failed_node_is_a_job_error():
    data = {"prompt_id": "mine", "node_type": "N", "exception_message": "bad\n", "exception_type": "ValueError"}
    with pytest.raises(JobError, match="N: bad") as caught:
        follow(("execution_error", data))
    assert caught.value.exception_type == "ValueError"


def test_a_cancelled_job_is_told_apart():
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
