"""The estimate of a run's seconds: its arithmetic, and that timing a device leaves nothing behind."""

import dataclasses

import pytest
import torch

from fastvmt_core.budget import time
from fastvmt_core.budget.memory import KEEP_ALL, GuidedPass, MemoryPlan
from fastvmt_core.budget.time import ATTENTION_BACKWARD, Rates, TimeLeft, block_flop, measured_rates, run_seconds

# Wan 2.1 1.3B at 480x832x81 in bf16.
LARGE = GuidedPass(batch=1, tokens=32760, dim=1536, ffn_dim=8960, blocks=14, bytes_per_value=2)
SMALL = GuidedPass(batch=1, tokens=64, dim=32, ffn_dim=64, blocks=2, bytes_per_value=4)


def test_a_block_of_the_real_size_takes_the_known_flop():
    linear, attention = block_flop(LARGE)
    assert attention == pytest.approx(6.6e12, rel=0.01)
    # The prompt's own keys and values are left out.
    assert linear == pytest.approx(2.8e12, rel=0.05)
    assert block_flop(dataclasses.replace(LARGE, batch=2)) == (2 * linear, 2 * attention)


def test_seconds_are_gradients_and_evaluations():
    linear, attention = block_flop(SMALL)
    rates = Rates(product=linear, attention=attention)  # One second each.
    plain = run_seconds(SMALL, KEEP_ALL, rates, gradients=0, evaluations=3, depth=5)
    assert plain == pytest.approx(3 * 5 * 2)
    gradient = run_seconds(SMALL, KEEP_ALL, rates, 1, 0, 5)
    assert gradient == pytest.approx(2 * (2 + 1 + ATTENTION_BACKWARD))
    again = run_seconds(SMALL, MemoryPlan(recomputed=2), rates, 1, 0, 5)
    assert again - gradient == pytest.approx(2 * 2)
    beside = dataclasses.replace(SMALL, side_blocks=1)
    assert run_seconds(beside, KEEP_ALL, rates, 1, 0, 5) == pytest.approx(1.5 * gradient)


def test_gradients_at_half_size_are_counted_by_their_own_tokens():
    linear, attention = block_flop(SMALL)
    rates, half = Rates(linear, attention), dataclasses.replace(SMALL, tokens=SMALL.tokens // 4)
    # A quarter of the tokens: a quarter of the products, a sixteenth of the attention.
    seconds = run_seconds(SMALL, KEEP_ALL, rates, 0, 0, 5, half, half_gradients=3)
    assert seconds == pytest.approx(3 * 2 * (2 / 4 + (1 + ATTENTION_BACKWARD) / 16))
    both = run_seconds(SMALL, KEEP_ALL, rates, 1, 3, 5, half, half_gradients=3)
    assert both == pytest.approx(seconds + run_seconds(SMALL, KEEP_ALL, rates, 1, 3, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_timing_a_device_draws_no_random_numbers(dtype):
    before = torch.get_rng_state()
    rates = measured_rates(SMALL, torch.device("cpu"), dtype)
    assert rates.product > 0 and rates.attention > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("name", "waited_for"), [("cuda:1", ["cuda:1"]), ("cpu", ["cpu"]), ("mps", [None])])
def test_a_device_is_timed_until_it_is_done_itself(monkeypatch, name, waited_for):
    """Not the current device: the model may be on another card."""
    waited, device = [], torch.device(name)
    module = getattr(torch, device.type)
    monkeypatch.setattr(module, "synchronize", lambda device=None: waited.append(device and str(device)))
    time._wait(device)
    assert waited == waited_for


class Clock:
    """Stands still until `go` is called."""

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


def test_seconds_are_unknown_before_one_step_is_done(clock):
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
    left_over = []
    for step in (1, 2, 3):
        left.step_begins(step)
        left_over.append(left.seconds)
        clock.go(3)
    assert left_over == pytest.approx([9, 6, 3])
    clock.go(10)
    assert left.seconds == 0
