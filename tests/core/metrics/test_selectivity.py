"""Motion apart from appearance: the ratio by hand, the proposal, and the clips that are shown."""

import pytest
import torch

from fastvmt_core.attention.flow import AttentionMotionFlow
from fastvmt_core.attention.windows import frame_pairs
from fastvmt_core.metrics.probes import APPEARANCES, MOTIONS, sprite_clips, varied_clips
from fastvmt_core.metrics.selectivity import Selectivity, flow_distance, selectivity_ratio


def flow(*xy, self_pairs=0.0):
    """Every token of pairs i < j moves by `xy`, those of (i, i) by `self_pairs`."""
    pairs = frame_pairs(2, 2)
    displacement = torch.stack([torch.tensor(xy if i < j else (self_pairs, 0.0)).expand(2, 3, 2) for i, j in pairs])
    return AttentionMotionFlow(pairs, displacement, torch.zeros(len(pairs), 1, 2), None, temporal_span=2)


def test_distance_is_the_mean_square_without_self_pairs():
    assert flow_distance(flow(0.0, 0.0), flow(3.0, 4.0)) == pytest.approx(25)
    assert flow_distance(flow(1.0, 0.0, self_pairs=5.0), flow(1.0, 0.0)) == 0


def test_distance_refuses_other_grids_and_single_frames():
    single = AttentionMotionFlow(((0, 0),), torch.zeros(1, 2, 3, 2), torch.zeros(1, 1, 2), None, temporal_span=1)
    with pytest.raises(ValueError, match="same pairs and grid"):
        flow_distance(flow(0.0, 0.0), single)
    with pytest.raises(ValueError, match="two frames of the latent or more"):
        flow_distance(single, single)


def test_ratio_by_hand():
    # Another appearance moves it by 1, other motion by 2: 1 / 4.
    flows = [[flow(0.0, 0.0), flow(0.0, 1.0)], [flow(2.0, 0.0), flow(2.0, 1.0)]]
    assert selectivity_ratio(flows) == pytest.approx(1 / 4)
    assert selectivity_ratio([list(column) for column in zip(*flows, strict=True)]) == pytest.approx(4)


def test_ratio_refuses_too_few_clips_and_still_ones():
    still = [[flow(0.0, 0.0)] * 2] * 2
    with pytest.raises(ValueError, match="choose a reference in which something moves"):
        selectivity_ratio(still)
    for few in ([], [[flow(0.0, 0.0)] * 2], [[flow(0.0, 0.0)], [flow(1.0, 0.0)]]):
        with pytest.raises(ValueError, match="two motions or more by two appearances or more"):
            selectivity_ratio(few)


def test_the_proposal_is_the_lowest_and_of_ties_the_earliest_block():
    table = Selectivity((2, 3, 4), (0.1, 0.3), ((0.9, 0.7, 0.5), (0.8, 0.42, 0.41)))
    assert (table.proposal.block, table.proposal.sigma, table.proposal.ratio) == (3, 0.3, 0.42)
    assert table.report["proposal"] == {"block": 3, "reference_sigma": 0.3, "ratio": 0.42}


def test_nothing_below_one_is_no_proposal():
    table = Selectivity((0, 1), (0.3,), ((1.0, 1.2),))
    assert table.proposal is None
    assert table.report["proposal"] is None


def test_a_table_that_is_not_full_is_refused():
    with pytest.raises(ValueError, match=r"expected 2 rows \(sigmas\) of 2 \(blocks\), got \[2, 1\]"):
        Selectivity((0, 1), (0.3, 0.5), ((1.0, 1.0), (1.0,)))


def test_made_up_clips_share_motion_in_rows_and_appearance_in_columns():
    clips = sprite_clips(48, 64, 5, seed=1)
    assert [len(row) for row in clips] == [APPEARANCES] * MOTIONS
    stacked = torch.stack([torch.stack(row) for row in clips])
    assert stacked.shape == (MOTIONS, APPEARANCES, 5, 48, 64, 3)
    assert stacked.min() >= 0
    assert stacked.max() <= 1
    # What changes between frames shows the motion; sprites of another size change a few pixels more.
    moving = (stacked[:, :, 1:] != stacked[:, :, :-1]).any(-1)
    for row, other in zip(moving, moving.roll(1, 0), strict=True):
        unlike = (row != row[0]).float().mean(), (row != other).float().mean()
        assert unlike[0] < unlike[1] / 3
    # A sprite covers less than half of the time what it passes over: the median in time is the background, one for all.
    background = stacked.median(dim=2).values.flatten(0, 1).median(dim=0).values
    assert (stacked == background).all(-1).float().mean() > 0.7
    assert not torch.equal(stacked[0, 0], stacked[0, 1])
    assert torch.equal(torch.stack(sprite_clips(48, 64, 5, seed=1)[2]), stacked[2])
    assert not torch.equal(torch.stack(sprite_clips(48, 64, 5, seed=2)[2]), stacked[2])


def test_a_given_clip_is_reversed_mirrored_and_recoloured():
    frames = torch.rand(5, 4, 6, 3, generator=torch.Generator().manual_seed(0))
    (clip, other), (reverse, _), (mirrored, _) = varied_clips(frames)
    assert torch.equal(clip, frames)
    assert torch.equal(reverse[0], frames[-1])
    assert torch.equal(mirrored[:, :, 0], frames[:, :, -1])
    torch.testing.assert_close(other[..., 1], 0.1 + 0.8 * frames[..., 0])


def test_the_proposal_has_a_sentence_and_a_cell():
    table = Selectivity((2, 3, 4), (0.1, 0.3), ((0.9, 0.7, 0.5), (0.8, 0.42, 0.41)))
    assert table.proposed_cell == (1, 1)
    assert table.in_words == "Blue, below 1: the motion. Proposed: block 3 at sigma 0.3 (0.42)."
    none = Selectivity((0, 1), (0.3,), ((1.0, 1.2),))
    assert none.proposed_cell is None and "No ratio is below 1" in none.in_words
