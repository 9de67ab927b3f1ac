"""Waits go on while something moves, and end once nothing does; the clock of these tests is their own."""

import threading

import pytest

from tools.host.patience import CHECKS, CPU_STEP, QUIET_SECONDS, Patience, StalledError, cpu_sign, server_sign


class Clock:
    """A clock that goes on only when it is set forward."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def checked(patience, clock, seconds, times):
    """Check so many times, spread evenly over so many seconds."""
    for _ in range(times):
        clock.now += seconds / times
        patience.check()


def test_nothing_moves_for_long(clock):
    patience = Patience(clock=clock)
    patience.start("the page")
    checked(patience, clock, QUIET_SECONDS - 1, CHECKS)
    clock.now += 1
    with pytest.raises(StalledError, match="waited for the page: nothing has moved for 120 s"):
        patience.check()


def test_whatever_moves_before_the_end_starts_the_wait_anew(clock):
    sign = [0]
    patience = Patience([lambda: "never", lambda: sign[0]], clock=clock)
    patience.start("a job")
    for _ in range(50):
        checked(patience, clock, QUIET_SECONDS - 1, CHECKS)
        sign[0] += 1
        patience.check()
    for _ in range(50):
        checked(patience, clock, QUIET_SECONDS - 1, CHECKS)
        patience.moved()
    with pytest.raises(StalledError):
        checked(patience, clock, QUIET_SECONDS, CHECKS)


def test_who_was_asleep_has_not_checked(clock):
    patience = Patience(clock=clock)
    patience.start("a job")
    clock.now += 10 * QUIET_SECONDS
    for _ in range(CHECKS - 1):
        patience.check()
    with pytest.raises(StalledError):
        patience.check()


def test_each_wait_starts_anew(clock):
    patience = Patience(clock=clock)
    patience.start("one")
    checked(patience, clock, QUIET_SECONDS - 1, CHECKS)
    clock.now += QUIET_SECONDS
    patience.start("another")
    checked(patience, clock, QUIET_SECONDS - 1, CHECKS)


def test_a_starved_process_that_still_gets_a_little_cpu_is_waited_for(clock, monkeypatch):
    used = [0.0]
    monkeypatch.setattr("tools.host.patience.cpu_seconds", lambda pid: used[0] if pid == 7 else pytest.fail("another"))
    patience = Patience([cpu_sign(lambda: 7)], clock=clock)
    patience.start("a job")
    for _ in range(50):
        checked(patience, clock, QUIET_SECONDS - 1, CHECKS)
        used[0] += CPU_STEP
    # A server that waits for work wakes now and then.
    used[0] += 0.1 * CPU_STEP
    with pytest.raises(StalledError):
        checked(patience, clock, 2 * QUIET_SECONDS, 2 * CHECKS)


def test_a_call_gives_its_result_or_its_error():
    patience = Patience()
    assert patience.during("an answer", lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        patience.during("an answer", lambda: 1 / 0)


def test_a_call_that_never_returns_is_given_up(clock):
    def sign():
        clock.now += QUIET_SECONDS
        return 0

    never = threading.Event()
    patience = Patience([sign], checks=3, clock=clock)
    with pytest.raises(StalledError, match="an answer"):
        patience.during("an answer", never.wait, every=0.001)
    never.set()


def test_a_server_elsewhere_shows_no_sign():
    # Nothing listens on port 1 of this machine.
    assert server_sign("http://127.0.0.1:1")() == 0
