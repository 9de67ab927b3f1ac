"""How long a run still takes, on a clock that the test moves."""

import pytest

from fastvmt_core.budget.time_left import TimeLeft


class Clock:
    """Stands still until it is told to go on."""

    now = 100.0

    def __call__(self):
        return self.now

    def go(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def guided_step(left, clock, step, inner_steps):
    left.step_begins(step)
    for _ in range(inner_steps):
        clock.go(2)
        left.inner_step_done()
    left.guidance_done()
    clock.go(3)


def test_nothing_is_said_before_one_step_is_done(clock):
    left = TimeLeft(5, (0, 1), 4, clock)
    assert left.seconds is None
    left.step_begins(0)
    clock.go(1)
    left.inner_step_done()
    assert left.seconds is None
    left.guidance_done()
    assert left.seconds is None


def test_guided_and_plain_steps_are_counted_apart(clock):
    left = TimeLeft(5, (0, 1), 4, clock)
    guided_step(left, clock, 0, 4)
    left.step_begins(1)
    # Step 1: 8 s of guidance, 3 of denoising; steps 2 to 4: 3 each.
    assert left.seconds == pytest.approx(8 + 3 + 9)
    clock.go(2)
    left.inner_step_done()
    assert left.seconds == pytest.approx(6 + 3 + 9)


def test_plain_steps_count_down(clock):
    left = TimeLeft(4, (0,), 2, clock)
    guided_step(left, clock, 0, 2)
    found = []
    for step in (1, 2, 3):
        left.step_begins(step)
        found.append(left.seconds)
        clock.go(3)
    assert found == pytest.approx([9, 6, 3])
    clock.go(10)
    assert left.seconds == 0
