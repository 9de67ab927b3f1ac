"""Movements worked out by hand: speed along a path, turns, the camera's two depths, the shake."""

import pytest
import torch

from fastvmt_core.drawing.description import Camera, Move
from fastvmt_core.drawing.moves import camera_matrices, followed, moved_points, object_matrices, shake

SIZE = (200, 100)
CORNER = ((0.1, 0.1), (0.4, 0.1), (0.4, 0.7))
"""60 pixels to the right, then 60 down."""


def test_even_speed_is_even_in_pixels():
    places, share = followed(Move(CORNER), 5, SIZE)
    torch.testing.assert_close(places, torch.tensor([[0.0, 0], [30, 0], [60, 0], [60, 30], [60, 60]]))
    assert share.tolist() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(("speed", "middle"), [("ease", 0.5), ("ease in", 0.25), ("ease out", 0.75)])
def test_eased_speed_begins_and_ends_where_even_does(speed, middle):
    places, share = followed(Move(((0, 0), (1, 0)), speed), 3, SIZE)
    assert places[:, 0].tolist() == pytest.approx([0, 200 * middle, 200]) and share.tolist() == [0, middle, 1]


def test_timed_points_start_and_stop():
    move = Move(((0, 0), (0.5, 0), (0.5, 0), (1, 0)), "timed", (0.0, 0.25, 0.75, 1.0))
    places, share = followed(move, 9, SIZE)
    assert places[:, 0].tolist() == pytest.approx([0, 50, 100, 100, 100, 100, 100, 150, 200])
    assert share.tolist() == pytest.approx([0, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.75, 1])


def test_no_path_stays_where_it_is():
    for move in (Move(), Move(((0.5, 0.5),)), Move(((0.5, 0.5),) * 3), Move(((0.5, 0.5),) * 2, "timed", (0.2, 0.8))):
        places, share = followed(move, 4, SIZE)
        assert places.abs().max() == 0 and share[0] == 0 and share[-1] == 1


def test_an_object_turns_clockwise_and_grows_about_its_centre():
    matrices = object_matrices(Move(((0, 0), (0.5, 0)), turn=90, scale=2), (50.0, 50.0), 2, SIZE)
    shown = moved_points(matrices, torch.tensor([[50.0, 50.0], [60.0, 50.0]]))
    # To the right of the centre becomes below it, at twice the distance.
    torch.testing.assert_close(shown[0], torch.tensor([[50.0, 50.0], [60.0, 50.0]]))
    torch.testing.assert_close(shown[1], torch.tensor([[150.0, 50.0], [150.0, 70.0]]), atol=1e-4, rtol=0)


def test_the_ground_moves_less_by_the_parallax():
    camera = Camera(Move(((0.5, 0.5), (0.7, 0.5)), scale=4), parallax=0.5)
    at = torch.tensor([[100.0, 50.0]])
    near, far = (moved_points(camera_matrices(camera, far, 2, SIZE, 16), at)[-1, 0] for far in (False, True))
    # The view goes 40 pixels to the right, and comes nearer by 4; the ground by half of both.
    assert near.tolist() == pytest.approx([100 - 40 * 4, 50]) and far.tolist() == pytest.approx([100 - 20 * 2, 50])


def test_a_roll_turns_what_is_seen_against_the_camera():
    shown = moved_points(camera_matrices(Camera(Move(turn=90)), True, 2, SIZE, 16), torch.tensor([[110.0, 50.0]]))
    assert shown[-1, 0].tolist() == pytest.approx([100, 40], abs=1e-4)


def test_a_shake_has_its_size_its_seed_and_starts_at_zero():
    long = shake(Camera(shake=0.01, seed=3), 4000, 16.0)
    assert long[0].abs().max() == 0
    # The sines of incommensurable frequencies, over 250 seconds.
    assert long.std(0).tolist() == pytest.approx([0.01, 0.01], rel=0.1)
    assert torch.equal(long[:50], shake(Camera(shake=0.01, seed=3), 50, 16.0))
    assert not torch.equal(long[:50], shake(Camera(shake=0.01, seed=4), 50, 16.0))
    # The same movement at another rate.
    torch.testing.assert_close(shake(Camera(shake=0.01, seed=3), 99, 32.0)[::2], long[:50], atol=1e-5, rtol=0)
