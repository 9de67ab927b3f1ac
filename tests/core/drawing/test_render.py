"""The crude clip: what was drawn is found in it again, to a pixel; what was cut out is gone from its place."""

import itertools
import json

import numpy as np
import pytest
import torch

from fastvmt_core.drawing.description import Camera, Drawing, DrawnObject, Ellipse, Lasso, MaskShape, Move, read_drawing
from fastvmt_core.drawing.render import PALETTE, Canvas, render, render_tracks
from fastvmt_core.drawing.shapes import without
from fastvmt_core.drawing.tracks import Tracks
from tools.train.patterns import COLOURS
from tools.train.track import track

SMALL = Canvas(128, 128, 17, 16.0)
PIXEL = 1.0


def disc(x, y, *path, radius=0.1, **move):
    return DrawnObject(Ellipse((x, y), (radius, radius)), Move(tuple(path), **move))


def random_path(random):
    """A path of up to 30 points that keeps a disc of radius 0.1 inside the frame."""
    return tuple(map(tuple, random.uniform(0.15, 0.85, (random.integers(2, 30), 2)).tolist()))


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_path_is_found_in_the_clip(seed):
    random = np.random.default_rng(seed)
    path, speed = random_path(random), ("even", "ease", "ease in", "ease out")[seed % 4]
    clip = render(Drawing((disc(*path[0], *path, speed=speed, turn=90.0 * (seed % 3)),)), SMALL)
    assert PALETTE[0] == COLOURS["red"]
    found = track(clip.frames.numpy(), "red") + 0.5
    assert np.linalg.norm(found - clip.tracks.points[:, 0].numpy(), axis=1).max() < PIXEL
    # And in the mask.
    y, x = (torch.arange(128) + 0.5 for _ in range(2))
    total = clip.mask.sum((1, 2))
    centre = torch.stack(((clip.mask.sum(1) * x).sum(1) / total, (clip.mask.sum(2) * y).sum(1) / total), -1)
    assert torch.linalg.vector_norm(centre - clip.tracks.points[:, 0], dim=-1).max() < PIXEL / 4
    # Where it was drawn: the ends are exact, and every frame lies on the path.
    ends = torch.tensor((path[0], path[-1])) * 128
    torch.testing.assert_close(clip.tracks.points[[0, -1], 0], ends, atol=0.1, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_a_camera_is_found_in_the_clip(seed):
    cv2 = pytest.importorskip("cv2")
    path = tuple(map(tuple, np.random.default_rng(seed).uniform(0.35, 0.65, (3, 2)).tolist()))
    clip = render(Drawing(camera=Camera(Move(path), shake=0.01, seed=seed)), SMALL)
    grey = clip.frames.mean(-1).numpy().astype(np.float32)
    steps = [
        cv2.phaseCorrelate(*pair, cv2.createHanningWindow((128, 128), cv2.CV_32F))[0]
        for pair in itertools.pairwise(grey)
    ]
    # The ground's points are those of the tracks, as nothing else was drawn.
    true = clip.tracks.points[:, 0].diff(dim=0).numpy()
    assert np.linalg.norm(np.array(steps) - true, axis=1).max() < PIXEL


def test_shapes_cover_what_they_should():
    square = Lasso(((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)))
    mask = torch.zeros(2, 64, 64)
    mask[1, 16:48, 16:48] = 1
    for shape in (square, MaskShape(1)):
        clip = render(Drawing((DrawnObject(shape, Move()),)), SMALL, masks=mask)
        assert float(clip.mask[0].sum()) == pytest.approx(64 * 64, rel=0.02)
        # A lasso is filled in quarters of a pixel.
        assert clip.tracks.points[0, 0].tolist() == pytest.approx([64, 64], abs=0.25)
    clip = render(Drawing((disc(0.5, 0.5, radius=0.25),)), SMALL)
    assert float(clip.mask[0].sum()) == pytest.approx(np.pi * 32**2, rel=0.01)


def test_the_last_object_is_on_top_and_hides_the_points_below():
    drawing = Drawing((disc(0.5, 0.5), disc(0.2, 0.5, (0.2, 0.5), (0.5, 0.5), radius=0.15)))
    clips = [render(drawing, SMALL, chosen=chosen) for chosen in range(3)]
    both, first, second = (clip.mask for clip in clips)
    torch.testing.assert_close(both, first + second, atol=1e-5, rtol=0)
    assert first[-1].max() < 0.01 < first[0].max()
    visible = clips[0].tracks.visible
    assert bool(visible[0].all()) and not bool(visible[-1, 0]) and bool(visible[-1, 5])
    torch.testing.assert_close(clips[0].frames[-1, 64, 64], torch.tensor(PALETTE[1]), atol=0.1, rtol=0)


def test_an_object_leaves_the_frame():
    clip = render(Drawing((disc(0.5, 0.5, (0.5, 0.5), (2, 0.5)),)), SMALL)
    assert clip.mask[-1].max() == 0 and not bool(clip.tracks.visible[-1].any())
    assert clip.mask[0].max() == 1


@pytest.mark.parametrize("scale", [0.1, 0.5, 10.0])
def test_scaled_objects_have_their_size(scale):
    clip = render(Drawing((disc(0.5, 0.5, radius=0.3, scale=scale),)), SMALL)
    area = min(np.pi * (0.3 * 128 * scale) ** 2, 128**2)
    assert float(clip.mask[-1].sum()) == pytest.approx(area, rel=0.05)


def test_a_shrunk_texture_does_not_alias():
    columns = torch.arange(128) % 2
    picture = columns.float().expand(128, 128)[None, ..., None].expand(-1, -1, -1, 3)
    clip = render(Drawing((disc(0.5, 0.5, radius=0.4, scale=0.25),)), SMALL, picture)
    # Stripes of single pixels become grey, not coarser stripes.
    assert clip.frames[-1, 58:70, 58:70].std() < 0.05


def test_a_hole_is_filled_from_its_border():
    y, x = torch.meshgrid(torch.arange(96) / 95, torch.arange(128) / 127, indexing="ij")
    picture = torch.stack((x, y, 0.5 + 0 * x), -1)
    hole = torch.zeros(96, 128)
    hole[30:70, 40:90] = 1
    broken = picture * (1 - hole[..., None])
    filled = without(broken, hole)
    assert torch.equal(filled[hole == 0], picture[hole == 0])
    # A slope is what diffusion from its border gives; the coarse solution is a few hundredths off.
    assert (filled - picture).abs().max() < 0.08


def test_a_cut_out_leaves_no_ghost():
    picture = torch.full((1, 128, 128, 3), 0.3)
    disc_mask = render(Drawing((disc(0.3, 0.5, radius=0.15),)), SMALL).mask[0]
    picture = picture + disc_mask[..., None] * torch.tensor((0.6, -0.1, 0.3))
    clip = render(Drawing((disc(0.3, 0.5, (0.3, 0.5), (0.75, 0.5), radius=0.15),)), SMALL, picture)
    gone = clip.frames[-1][clip.mask[-1] == 0]
    assert (gone - 0.3).abs().max() < 0.02
    assert clip.frames[-1, 64, 96, 0] > 0.8


def test_a_picture_of_another_shape_is_cropped():
    picture = torch.zeros(1, 100, 300, 3)
    picture[:, :, 100:200] = 1
    clip = render(Drawing(camera=Camera(shake=0.001)), Canvas(64, 64, 1, 16.0), picture)
    assert clip.frames.mean() > 0.99


def test_discs_follow_their_tracks():
    times = torch.linspace(0, 1, 17)
    path = torch.stack((20 + 80 * times, 64 + 30 * torch.sin(6 * times)), -1)
    clip = render_tracks(Tracks(path[:, None], torch.ones(17, 1, dtype=torch.bool)), SMALL, 0.1)
    found = track(clip.frames.numpy(), "red") + 0.5
    assert np.linalg.norm(found - path.numpy(), axis=1).max() < PIXEL


def test_a_track_is_drawn_only_where_it_is_seen():
    points = torch.full((17, 1, 2), 64.0)
    visible = torch.ones(17, 1, dtype=torch.bool)
    visible[:5] = False
    clip = render_tracks(Tracks(points, visible), SMALL, 0.1)
    assert clip.mask[:5].max() == 0 and clip.mask[5:].amax((1, 2)).min() == 1


BAD = {
    "mask_of: expected 0 .all. or the number of an object up to 1, got 2": {"chosen": 2},
    "picture: expected a clip of shape": {"picture": torch.zeros(8, 8, 3)},
    "picture: expected finite": {"picture": torch.full((1, 8, 8, 3), torch.nan)},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_inputs_are_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        render(Drawing((disc(0.5, 0.5),)), SMALL, **BAD[message])


def test_missing_masks_and_empty_shapes_are_refused_by_name():
    masked = Drawing((disc(0.5, 0.5), DrawnObject(MaskShape(1), Move())))
    with pytest.raises(ValueError, match="masks: expected a mask number 1 for object 2, got 1 masks; connect them"):
        render(masked, SMALL, masks=torch.ones(1, 8, 8))
    with pytest.raises(ValueError, match="masks: expected a mask number 1 for object 2, got 0 masks"):
        render(masked, SMALL)
    with pytest.raises(ValueError, match="masks: expected finite"):
        render(masked, SMALL, masks=torch.full((2, 8, 8), torch.nan))
    for drawn in (disc(-0.9, 0.5), disc(0.5, 0.5, radius=1e-300)):
        with pytest.raises(ValueError, match="object 1: expected a shape inside the frame.* move or grow it"):
            render(Drawing((drawn,)), SMALL)
    with pytest.raises(ValueError, match="masks: expected a mask number 1000") as refused:
        render(Drawing((DrawnObject(MaskShape(10**400), Move()),)), SMALL)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("name", "value"), [("width", 0), ("height", 9000), ("length", 5000), ("fps", 0.0)])
def test_a_canvas_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        Canvas(**{"width": 64, "height": 64, "length": 5, "fps": 16.0, name: value})
    with pytest.raises(ValueError, match="width, height, length: expected at most"):
        Canvas(8192, 8192, 81, 16.0)
    Canvas(8192, 8192, 8, 16.0)


def test_the_text_of_a_drawing_renders():
    text = json.dumps({"objects": [{"lasso": [[0.4, 0.4], [0.6, 0.4], [0.5, 0.6]], "path": [[0, 0], [0.1, 0.1]]}]})
    clip = render(read_drawing(text), Canvas(64, 48, 5, 16.0))
    assert clip.frames.shape == (5, 48, 64, 3) and clip.mask.shape == (5, 48, 64)
    assert clip.frames.min() >= 0 and clip.frames.max() <= 1
