"""Scenes of each kind are drawn in range, the same from the same seed, and move as what is true of them states."""

import numpy as np
import pytest

from tools.train.clips import MARGIN
from tools.train.landscape import LANDSCAPES
from tools.train.patterns import COLOURS
from tools.train.prompts import LENGTH, encode
from tools.train.scenes import HINGE, JUMP, KINDS, make_scene

SEEDS = range(12)


def near(frame, actor, time, colour):
    """The mean distance of the colour at an actor's middle to the stated one; a ring is read on its band."""
    place = actor.path[time] + ([0.75 * actor.radius * actor.scales[time], 0] if actor.shape == "ring" else 0)
    column, row = np.rint(place).astype(int)
    return np.abs(frame[row, column] - COLOURS[colour]).max()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_pixels_in_range(kind):
    scene, again, other = make_scene(kind, 1), make_scene(kind, 1), make_scene(kind, 2)
    assert scene.frames.shape == (17, 128, 128, 3) and scene.frames.dtype == np.float32
    assert 0 <= scene.frames.min() and scene.frames.max() <= 1
    assert np.array_equal(scene.frames, again.frames) and not np.array_equal(scene.frames, other.frames)


@pytest.mark.parametrize(("size", "frames"), [(192, 17), (128, 33), (128, 65)])
def test_other_sizes_and_lengths(size, frames):
    scene = make_scene("camera", 3, size, frames)
    assert scene.frames.shape == (frames, size, size, 3) and len(scene.view.shift) == frames


@pytest.mark.parametrize("kind", KINDS)
def test_the_top_sprite_is_where_it_is_stated_and_has_its_colour(kind):
    for seed in SEEDS:
        scene = make_scene(kind, seed)
        actor = scene.actors[-1]
        assert actor.path.min() >= MARGIN and actor.path.max() <= 127 - MARGIN
        assert all(near(scene.frames[time], actor, time, actor.colour) < 0.02 for time in (0, 7, 16))


def test_a_camera_carries_the_ground_to_where_it_is_stated():
    moved = set()
    for seed in range(24):
        scene = make_scene("camera", seed, frames=7)
        now, then = 2, 6
        points = np.stack(np.meshgrid(np.arange(4, 124, 6.0), np.arange(4, 124, 6.0)), -1).reshape(-1, 2)
        target = np.rint(scene.view.carried(points, now, then))
        start = np.rint(scene.view.carried(target, then, now))
        free = [
            np.linalg.norm(places - actor.path[time], axis=1) > actor.radius + 3
            for places, time in ((start, now), (target, then))
            for actor in scene.actors
        ]
        seen = np.all([((p >= 0) & (p <= 127)).all(1) for p in (start, target)], 0) & np.all(free, 0)
        (x, y), (column, row) = (places[seen].astype(int).T for places in (start, target))
        error = np.abs(scene.frames[now][y, x] - scene.frames[then][row, column]).mean()
        still = np.abs(scene.frames[now][y, x] - scene.frames[then][y, x]).mean()
        # Places are rounded to pixels, which edges of stones show.
        assert error < 0.4 * still
        moved |= set(scene.words)
    assert moved == {"pan", "zoom", "roll"}


@pytest.mark.parametrize("name", LANDSCAPES)
def test_a_landscape_has_no_two_like_places(name):
    x, y = np.meshgrid(np.arange(0, 4096, 16.0), np.arange(2))
    colours = LANDSCAPES[name](x, y).mean(0)
    # Squares of eight tokens each, compared with all others.
    rows = colours.reshape(-1, 8 * 3)
    distance = np.linalg.norm(rows[:, None] - rows, axis=-1) + 9 * np.eye(len(rows))
    assert distance.min() > 0.1


def test_single_sprites_turn_pulse_jump_and_bend():
    acts = {}
    for seed in range(150):
        scene = make_scene("one", seed, 64, 5)
        acts.setdefault((*scene.words, scene.actors[0].shape == HINGE), scene.actors[0])
    assert set(acts) == {(False,), (True,), ("spin", False), ("pulse", False), ("jump", False)}
    assert np.ptp(acts["spin", False].angles) > 0.5 and np.ptp(acts["pulse", False].scales) > 0.1
    first, second = acts[True,].parts
    assert np.linalg.norm(first - second, axis=1).min() > 1


def test_a_jump_is_one_long_step_in_the_middle():
    seed = next(seed for seed in range(200) if "jump" in make_scene("one", seed, 64, 5).words)
    steps = np.linalg.norm(np.diff(make_scene("one", seed).actors[0].path, axis=0), axis=1)
    assert steps.argmax() == 7 and steps.max() > min(JUMP) / 2


def test_several_sprites_have_colours_of_their_own_and_some_pass_behind_each_other():
    gaps = []
    for seed in range(20):
        actors = make_scene("several", seed).actors
        assert len({actor.colour for actor in actors}) == len(actors) in (2, 3)
        gaps.append(np.linalg.norm(actors[0].path - actors[1].path, axis=1).min())
    assert min(gaps) < 4 and max(gaps) > 40


def test_every_prompt_fits_and_differs_from_the_null_prompt():
    prompts = [make_scene(kind, seed, 32, 5).prompt for kind in KINDS for seed in SEEDS]
    encoded = encode([*prompts, ""])
    assert encoded.shape == (len(prompts) + 1, LENGTH, 4096)
    assert len({tuple(row) for row in encoded[:, :, :2].flatten(1).tolist()}) == len(set(prompts)) + 1
