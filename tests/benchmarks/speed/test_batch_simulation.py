"""The simulated batch: sums that can be done by hand, and where it saturates."""

from dataclasses import replace

import pytest

from benchmarks.speed.batch_simulation import Costs, simulate

SOUND = Costs(driver=0.0, job=10.0, motion=10.0, start=0.0, motion_bytes=0, result_bytes=0, spread=0.0)
SOUND = replace(SOUND, slow_share=0.0, failure=0.0, hours_to_loss=1e12)


def test_perfect_machines_take_the_time_of_their_work():
    # Four motions and then 40 jobs on four machines: one and ten rounds of 10 s.
    outcome = simulate(SOUND, workers=4, jobs=40, references=4)
    assert outcome.hours * 3600 == pytest.approx(110)
    assert outcome.used == pytest.approx(1) and (outcome.motions, outcome.fetches) == (4, 0)


def test_a_slow_machine_holds_nobody_up():
    slow = simulate(replace(SOUND, slow_share=0.3, slow_factor=4.0), workers=20, jobs=2000, references=20)
    # Everybody is at work until the end, but for the last job of a slow machine.
    assert slow.used > 0.9


def test_a_driver_that_takes_as_long_as_the_machines_need_is_never_idle():
    outcome = simulate(replace(SOUND, driver=1.0), workers=20, jobs=1000, references=20)
    assert outcome.driver > 0.95 and outcome.used < 0.6


def test_failures_and_losses_are_made_up_for():
    outcome = simulate(replace(SOUND, failure=0.05, hours_to_loss=1.0), workers=10, jobs=1000, references=10)
    assert outcome.lost > 0 and outcome.motions == 10
    # A chance of about one in 400 that a job fails twice.
    assert outcome.set_aside < 12
