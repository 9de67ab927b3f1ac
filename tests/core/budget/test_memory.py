"""The memory plan: the plan of each level, and the next one after a plan that did not fit."""

import dataclasses
import math

import pytest

from fastvmt_core.budget.memory import KEEP_ALL, RESERVE, GuidedPass, MemoryPlan, plan_memory, step_down

# Wan 2.1 14B at 480x832x81 in bf16: block 14 is the one that is read.
LARGE = GuidedPass(batch=1, tokens=32760, dim=5120, ffn_dim=13824, blocks=14, bytes_per_value=2)
SMALLEST = MemoryPlan(recomputed=14, offloaded=True)


def free_for(plan, sizes=LARGE):
    """Just as much free memory as this plan needs."""
    return sizes.needed(plan) / (1 - RESERVE) + 1


def test_the_ends_do_not_ask_what_is_free():
    assert {plan_memory(LARGE, "fastest", free) for free in (0, 1e9, math.inf)} == {KEEP_ALL}
    assert {plan_memory(LARGE, "smallest", free) for free in (0, 1e9, math.inf)} == {SMALLEST}


@pytest.mark.parametrize("recomputed", [0, 1, 7, 14])
def test_auto_recomputes_as_few_blocks_as_fit(recomputed):
    plan = MemoryPlan(recomputed)
    assert plan_memory(LARGE, "auto", free_for(plan)) == plan
    less = plan_memory(LARGE, "auto", free_for(plan) - 10)
    assert less == (MemoryPlan(recomputed + 1) if recomputed < 14 else SMALLEST)


def test_attention_in_pieces_takes_its_memory_once():
    """Blocks are computed one at a time, whatever is kept of them."""
    pieces = 400_000_000
    in_pieces = dataclasses.replace(LARGE, attention_pieces=pieces)
    for plan in (KEEP_ALL, MemoryPlan(7), SMALLEST):
        assert in_pieces.needed(plan) - LARGE.needed(plan) == pieces


def test_nobody_knows_what_is_free():
    assert plan_memory(LARGE, "auto", math.inf) == KEEP_ALL


def test_each_smaller_plan_needs_less():
    needed = [LARGE.needed(MemoryPlan(recomputed)) for recomputed in range(15)] + [LARGE.needed(SMALLEST)]
    assert needed == sorted(needed, reverse=True)
    assert len(set(needed)) == len(needed)
    # What smallest leaves is the block that is being computed and the last one.
    assert needed[-1] == LARGE.ahead


def test_a_batch_and_side_blocks_and_cast_weights_count():
    def needed(plan=KEEP_ALL, **changes):
        return GuidedPass(**{**vars(LARGE), **changes}).needed(plan)

    assert needed(batch=2) == 2 * needed()
    # As many side blocks as blocks: what is kept doubles, what is ahead does not.
    assert needed(side_blocks=14) == 2 * needed() - LARGE.ahead
    copies = 300_000_000
    assert needed(weight_copies=copies) == needed() + 15 * copies
    # A recomputed block gives its copies back.
    assert needed(SMALLEST, weight_copies=copies) == needed(SMALLEST) + copies


def test_stepping_down_ends():
    assert step_down(LARGE, KEEP_ALL, free_for(MemoryPlan(5))) == MemoryPlan(5)
    # The plan was right on paper, and yet it did not fit.
    assert step_down(LARGE, MemoryPlan(5), math.inf) == SMALLEST
    assert step_down(LARGE, MemoryPlan(14), 0) == SMALLEST
    assert step_down(LARGE, SMALLEST, math.inf) is None


def test_the_first_block_has_nothing_before_it():
    first = GuidedPass(**{**vars(LARGE), "blocks": 0})
    assert plan_memory(first, "auto", 0) == MemoryPlan(0, offloaded=True)
    assert first.needed(KEEP_ALL) == first.ahead


@pytest.mark.parametrize(("name", "bad"), [("tokens", 0), ("dim", 2.5), ("blocks", -1), ("batch", True)])
def test_sizes_that_cannot_be(name, bad):
    with pytest.raises(ValueError, match=f"{name}: expected a whole number"):
        GuidedPass(**{**vars(LARGE), name: bad})


def test_an_unknown_level():
    with pytest.raises(ValueError, match="memory: expected auto, fastest or smallest, got 'tiny'"):
        plan_memory(LARGE, "tiny", 1e9)
