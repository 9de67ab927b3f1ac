"""Blocks that are computed again, or kept although they write into their input, by arithmetic anyone can check."""

import gc
import weakref

import pytest
import torch

RUNS = [(False, None), (False, False), (False, True), (True, None), (True, False), (True, True)]
"""Whether the block writes into its input; recomputed (None: kept) with its input in system RAM (True) or not."""


@pytest.fixture
def run(pack):
    """(function, x, how) -> what the function gives, differentiable."""
    plan = pack("fastvmt_core.budget.memory").MemoryPlan
    with_backward = pack("nodes.host.gradient.recompute").with_backward

    def evaluate(function, writes, offloaded, *streams):
        return with_backward(function, None if offloaded is None else plan(1, offloaded), writes, *streams)

    return evaluate


def out_of_place(x):
    x = x + x.square().sin()
    return x * x.exp()


def in_place(x):
    x += x.square().sin()
    return x.mul_(x.exp())


def point(seed=0):
    return torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(("writes", "offloaded"), RUNS)
def test_the_gradient_of_two_blocks_is_that_of_ordinary_ones(run, writes, offloaded):
    x = point()
    (expected,) = torch.autograd.grad(out_of_place(out_of_place(2 * x)).sum(), x)
    block = in_place if writes else out_of_place
    # An in-place block may not write into a leaf, nor does the host's.
    out = run(block, writes, offloaded, run(block, writes, offloaded, 2 * x))
    (found,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(found, expected)


def test_a_recomputed_block_leaves_its_input_as_it_was(run):
    x = point() * 1
    before = x.detach().clone()
    run(in_place, True, False, x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("offloaded", [None, False], ids=["kept", "recomputed"])
def test_a_gradient_that_would_be_wrong_is_refused(run, offloaded):
    """The block writes into a tensor of its own that its gradient needs."""

    def block(x):
        doubled = 2 * x
        squared = doubled.square()
        return doubled.add_(1) * squared

    x = point()
    with pytest.raises(ValueError, match="expected blocks that write into nothing but their tokens"):
        torch.autograd.grad(run(block, True, offloaded, 1 * x).sum(), x)


def test_a_block_that_computes_otherwise_the_second_time_is_refused(run):
    calls = []

    def block(x):
        calls.append(1)
        return x.exp().sin() if len(calls) == 1 else 2 * x

    x = point()
    with pytest.raises(ValueError, match="expected a block that computes the same twice"):
        torch.autograd.grad(run(block, False, False, x).sum(), x)


def test_the_second_run_ends_with_the_last_tensor_that_is_needed(run):
    ended = []

    def block(x):
        x = x.exp().sin()
        ended.append("needed")
        x = x + 1
        ended.append("not needed")
        return x

    x = point()
    torch.autograd.grad(run(block, False, False, x).sum(), x)
    assert ended == ["needed", "not needed"]


@pytest.mark.parametrize(("writes", "offloaded"), RUNS[1:])
def test_a_graph_that_is_dropped_takes_its_tensors_along(run, writes, offloaded):
    block = in_place if writes else out_of_place
    stream = 2 * point()
    held = weakref.ref(stream)
    out = run(block, writes, offloaded, stream)
    del stream, out
    gc.collect()
    assert held() is None


def test_without_a_gradient_the_block_simply_runs(run):
    with torch.no_grad():
        x = point().detach()
        assert torch.equal(run(out_of_place, False, True, x), out_of_place(x))
