"""The executor on nodes of its own: links, the cache, and the inputs of a node."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks.runs.host_graph import Executor, Result, call_node, is_link

SENT = []


class Source:
    """V1: a value and its double."""

    FUNCTION = "make"
    runs = 0

    def make(self, value):
        type(self).runs += 1
        return value, 2 * value


class Box:
    """V1: a list."""

    FUNCTION = "make"
    runs = 0

    def make(self, content):
        type(self).runs += 1
        SENT.append(("boxed", {"content": content}))
        return {"ui": {}, "result": ([content],)}


class Sum:
    """V3: the sum, its own id, and the inference mode."""

    FUNCTION = "EXECUTE_NORMALIZED"
    hidden = None
    runs = 0

    @classmethod
    def define_schema(cls):
        raise AssertionError("unused")

    @classmethod
    def EXECUTE_NORMALIZED(cls, **inputs):  # noqa: N802
        Sum.runs += 1
        total = sum(value[0] if isinstance(value, list) else value for value in inputs.values())
        return SimpleNamespace(args=(total, cls.hidden.unique_id, torch.is_inference_mode_enabled()))


CLASSES = {"Source": Source, "Box": Box, "Sum": Sum}


def graph(**inputs):
    return {
        "1": {"class_type": "Source", "inputs": {"value": 3}},
        "2": {"class_type": "Box", "inputs": {"content": ["1", 1]}},
        "3": {"class_type": "Sum", "inputs": {"a": ["1", 0], "b": ["2", 0], **inputs}},
    }


def drained():
    events, SENT[:] = list(SENT), []
    return events


@pytest.fixture(autouse=True)
def fresh():
    for node in CLASSES.values():
        node.runs = 0
    SENT.clear()


def test_links_lead_to_the_named_output():
    result = Executor(CLASSES).run(graph(), "3")
    assert result.outputs == (9, "3", True)


def test_each_node_runs_once_for_the_same_inputs():
    executor = Executor(CLASSES)
    first = executor.run(graph(), "3")
    assert executor.run(graph(), "3") is first
    executor.run(graph(c=1), "3")
    assert (Source.runs, Box.runs, Sum.runs) == (1, 1, 2)


def test_only_needed_nodes_run():
    Executor(CLASSES).run(graph(), "1")
    assert (Source.runs, Box.runs, Sum.runs) == (1, 0, 0)


def test_a_salt_sets_results_apart_from_its_class_downwards():
    executor = Executor(CLASSES)
    executor.run(graph(), "3")
    executor.run(graph(), "3", salts={"Box": "patched"})
    executor.run(graph(), "3")
    assert (Source.runs, Box.runs, Sum.runs) == (1, 2, 2)


def test_a_feed_stands_in_place_of_a_node():
    executor = Executor(CLASSES)
    fed = executor.run(graph(), "3", {"1": Result("fed", (100, 200))})
    assert fed.outputs[0] == 300
    assert Source.runs == 0
    assert executor.run(graph(), "3").outputs[0] == 9


def test_equal_numbers_are_one_input_whatever_node_made_them():
    executor = Executor(CLASSES)
    one, other = (executor.run(graph(), "2", {"1": Result(name, (0, 6))}) for name in ("one", "other"))
    assert one is other
    lists = [executor.run(graph(), "2", {"1": Result(name, (0, [6]))}) for name in ("one", "other")]
    assert lists[0] is not lists[1]


def test_messages_are_kept_with_the_outputs_of_their_node():
    executor = Executor(CLASSES, drained)
    SENT.append(("before", {}))
    executor.run(graph(), "3")
    assert executor.run(graph(), "2").events == (("boxed", {"content": 6}),)
    assert executor.run(graph(), "3").events == ()


def test_the_least_recently_used_result_goes_first():
    executor = Executor(CLASSES, size=2)
    for value in (1, 2, 1, 3, 1, 2):
        executor.run({"1": {"class_type": "Source", "inputs": {"value": value}}}, "1")
    # 1 stayed, 2 went when 3 came.
    assert Source.runs == 4


def test_unknown_nodes_and_classes_are_refused():
    with pytest.raises(ValueError, match="id of a node, got '9'"):
        Executor(CLASSES).run(graph(), "9")
    with pytest.raises(ValueError, match="'Sum'.*node 3"):
        Executor({"Source": Source, "Box": Box}).run(graph(), "3")


def test_a_coroutine_is_awaited():
    class Slow:
        FUNCTION = "make"

        async def make(self, value):
            return (value,)

    assert call_node(Slow, "1", {"value": 4}) == (4,)


def test_a_list_that_names_no_node_is_a_value():
    assert is_link(graph(), ["1", 0])
    assert not is_link(graph(), ["9", 0])
    assert not is_link(graph(), [1, 0])
