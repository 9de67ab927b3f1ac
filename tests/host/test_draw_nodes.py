"""The nodes that draw a motion, in the real host: what they give to other nodes, and what they refuse."""

import json
from types import SimpleNamespace

import pytest
import torch

ARC = {"objects": [{"ellipse": [0.3, 0.5, 0.12, 0.12], "path": [[0.3, 0.5], [0.5, 0.3], [0.7, 0.5]]}]}
SIZE = {"width": 128, "height": 96, "length": 17, "fps": 24.0}


@pytest.fixture
def from_tracks(pack, monkeypatch):
    """Motion From Tracks outside of a running graph."""
    node = pack("nodes.tracks").FastVMTMotionFromTracks
    monkeypatch.setattr(node, "hidden", SimpleNamespace(unique_id="1"), raising=False)
    return lambda **inputs: node.execute(**{**SIZE, "radius": 0.1, **inputs})


def test_a_drawing_becomes_what_other_nodes_take(pack):
    node = pack("nodes.draw_motion").FastVMTDrawMotion
    with torch.inference_mode():
        frames, video, mask, tracks, coordinates = node.execute(json.dumps(ARC), **SIZE, mask_of=1).args
    assert frames.shape == (17, 96, 128, 3) and mask.shape == (17, 96, 128)
    components = video.get_components()
    assert components.images is frames and float(components.frame_rate) == 24
    assert tracks["track_path"].shape == (17, 5, 2) and tracks["track_visibility"].dtype == torch.bool
    assert len(json.loads(coordinates)) == 5


def test_atis_node_takes_the_coordinates(pack, comfyui):
    from comfy_extras.nodes_wan import pad_pts, parse_json_tracks

    node = pack("nodes.draw_motion").FastVMTDrawMotion
    tracks, coordinates = node.execute(json.dumps(ARC), **{**SIZE, "length": 121}, mask_of=0).args[3:]
    read = parse_json_tracks(coordinates)
    assert len(read) == 5
    # (x, y, seen) of 121 moments.
    padded = torch.from_numpy(pad_pts(read[0]))[:, 0]
    torch.testing.assert_close(padded[:, :2], tracks["track_path"][:, 0], atol=0.01, rtol=0)
    assert bool((padded[:, 2] == 1).all())


def test_a_drawing_is_checked_before_anything_runs(pack):
    check = pack("nodes.draw_motion").FastVMTDrawMotion.validate_inputs
    assert check(json.dumps(ARC)) is True and check(None) is True
    assert "drawing: expected at least one object" in check("")
    assert "object 1: ellipse: expected" in check('{"objects": [{"ellipse": 3}]}')


def test_tracks_become_a_clip_and_say_what_was_changed(from_tracks):
    path = torch.linspace(10, 90, 33)[:, None, None].expand(33, 2, 2).clone()
    path[4, 0] = torch.nan
    frames, video, mask, report = from_tracks(tracks={"track_path": path}).args
    assert frames.shape == (17, 96, 128, 3) and mask.shape == (17, 96, 128)
    assert float(video.get_components().frame_rate) == 24
    assert report == (
        "Tracks: 2 in 17 frames. Not finite or out of range: 1 of the positions; the track is hidden there."
    )
    text = json.dumps([{"x": 10, "y": 10}, {"x": 90, "y": 90}])
    assert from_tracks(coordinates=text).args[3] == "Tracks: 1 in 17 frames."


def test_one_of_both_is_asked_for(from_tracks):
    with pytest.raises(ValueError, match="tracks, coordinates: expected exactly one of the two, got none"):
        from_tracks()
    with pytest.raises(ValueError, match="tracks, coordinates: expected exactly one of the two, got both"):
        from_tracks(tracks={}, coordinates="[]")
    with pytest.raises(ValueError, match="tracks: expected TRACKS with track_path"):
        from_tracks(tracks={})


def test_a_drawn_motion_is_read_and_given_back_as_tracks(pack, tiny_model, vae, empty_prompt):
    """Drawing, reference, motion, tracks: the points beside the drawn object go where it was drawn to."""
    draw, encode, invert, back = (
        pack(f"nodes.{module}").__dict__[f"FastVMT{name}"]
        for module, name in (
            ("draw_motion", "DrawMotion"),
            ("reference", "EncodeReference"),
            ("inversion", "InvertMotion"),
            ("tracks", "MotionToTracks"),
        )
    )
    for node in (encode, invert):
        node.hidden = SimpleNamespace(unique_id="1")
    line = {"objects": [{"ellipse": [0.3, 0.5, 0.16, 0.16], "path": [[0.3, 0.5], [0.65, 0.5]]}]}
    size = {"width": 128, "height": 128, "length": 17}
    with torch.inference_mode():
        frames = draw.execute(json.dumps(line), **size, fps=16.0, mask_of=0).args[0]
        options = {"fit": "crop", "source_fps": 16.0, "target_fps": 16.0, "tiled": False}
        latent = encode.execute(vae, **size, **options, frames=frames).args[0]
        settings = {"seed": 0, "reference_sigma": 0.3, "block": -1, "window": 5, "temporal_span": 4}
        settings |= {"tile_height": 2, "tile_width": 2, "sharpness": 1.0, "centre": "self"}
        motion = invert.execute(tiny_model, latent, empty_prompt, **settings).args[0]
        tracks = back.execute(motion, 128, 128, 1).args[0]["track_path"]
    moved = tracks[-1] - tracks[0]
    near = torch.linalg.vector_norm(tracks[0] - torch.tensor((38.4, 64.0)), dim=-1) < 16
    # 45 pixels to the right; a token is 16, and the ends are means of four frames.
    assert moved[near].mean(0).tolist() == pytest.approx([45, 0], abs=8)
