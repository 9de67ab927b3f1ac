"""The scheduler: who gets what, by hand and for any course of events."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tools.batch.scheduler import Scheduler, Task


def test_motions_come_first_and_a_worker_stays_with_its_own():
    jobs = [("a1", ("a",)), ("b1", ("b",)), ("a2", ("a",)), ("b2", ("b",))]
    scheduler = Scheduler(jobs)
    assert scheduler.next("one") == Task("a", True)
    assert scheduler.next("two") == Task("b", True)
    assert scheduler.next("three") is None
    scheduler.finish("two")
    assert scheduler.next("two") == Task("b1", False)
    # The third helps where there is something to do, and is not held up by the first.
    assert scheduler.next("three") == Task("b2", False)
    scheduler.finish("one")
    assert scheduler.next("one") == Task("a1", False)
    scheduler.finish("one")
    assert scheduler.next("one") == Task("a2", False)
    for worker in ("one", "two", "three"):
        scheduler.finish(worker)
    assert scheduler.over and scheduler.done == 4


def test_motions_that_exist_are_not_made_again():
    scheduler = Scheduler([("a1", ("a",)), ("plain", ())], ready={"a"})
    assert {scheduler.next("one"), scheduler.next("two")} == {Task("a1", False), Task("plain", False)}


def test_a_job_waits_for_all_its_motions():
    scheduler = Scheduler([("blend", ("a", "b"))])
    assert [scheduler.next("one"), scheduler.next("two")] == [Task("a", True), Task("b", True)]
    scheduler.finish("one")
    assert scheduler.next("one") is None
    scheduler.finish("two")
    assert scheduler.next("one") == Task("blend", False)


def test_a_failed_job_is_tried_once_more_and_by_another_if_one_is_free():
    scheduler = Scheduler([("a", ()), ("b", ())])
    assert scheduler.next("one") == Task("a", False)
    assert scheduler.fail("one", "first") is True
    assert scheduler.next("one") == Task("b", False)
    assert scheduler.next("two") == Task("a", False, attempt=2)
    assert scheduler.fail("two", "second") is False
    assert scheduler.set_aside == {"a": "second"}
    scheduler.finish("one")
    assert scheduler.over and (scheduler.done, scheduler.failed) == (1, 1)


def test_a_lone_worker_tries_its_own_failure_again():
    scheduler = Scheduler([("a", ())])
    scheduler.next("one")
    scheduler.fail("one", "error")
    assert scheduler.next("one") == Task("a", False, attempt=2)


def test_a_lost_worker_costs_one_attempt():
    scheduler = Scheduler([("a", ())])
    assert scheduler.leave("idle", "gone") is None
    scheduler.next("one")
    assert scheduler.leave("one", "gone") is True
    assert scheduler.next("two") == Task("a", False, attempt=2)


def test_jobs_go_with_a_motion_that_cannot_be_made():
    scheduler = Scheduler([("a1", ("a",)), ("ab", ("a", "b")), ("b1", ("b",))])
    for worker in ("one", "two"):
        assert scheduler.next(worker).identity in ("a", "b")
    scheduler.finish("two")
    scheduler.fail("one", "unreadable")
    # It has failed twice once another worker has failed with it too.
    assert scheduler.next("two") == Task("a", True, attempt=2)
    scheduler.fail("two", "unreadable")
    assert set(scheduler.set_aside) == {"a", "a1", "ab"} and "unreadable" in scheduler.set_aside["ab"]
    assert scheduler.next("two") == Task("b1", False)
    scheduler.finish("two")
    assert scheduler.over and (scheduler.done, scheduler.failed) == (1, 2)


@given(
    jobs=st.lists(st.sets(st.sampled_from("abcd"), max_size=2), max_size=25),
    course=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(("finish", "finish", "fail", "leave"))), max_size=60),
)
def test_any_course_of_events_ends_with_every_job_once(jobs, course):
    named = [(f"job{number}", tuple(sorted(needs))) for number, needs in enumerate(jobs)]
    scheduler, finished, attempts = Scheduler(named), Counter(), Counter()
    motions = set()
    # Then all goes well, so that it must come to its end.
    for worker, event in [*course, *((number % 4, "finish") for number in range(400))]:
        worker = f"w{worker}"
        task = scheduler.running.get(worker) or scheduler.next(worker)
        if task is None:
            continue
        if not task.is_motion:
            assert set(dict(named)[task.identity]) <= motions
        if event == "finish":
            finished[task.identity] += 1
            motions |= {task.identity} if task.is_motion else set()
            scheduler.finish(worker)
        else:
            attempts[task.identity] += 1
            (scheduler.fail if event == "fail" else scheduler.leave)(worker, "error")
    assert scheduler.over and not scheduler.running
    assert scheduler.done + scheduler.failed == len(jobs)
    assert all(count == 1 for count in finished.values()) and all(count <= 2 for count in attempts.values())
    assert not set(finished) & set(scheduler.set_aside)
