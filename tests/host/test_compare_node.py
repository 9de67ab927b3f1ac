"""FastVMT Compare: the file that it writes, and what it refuses."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from tests.core.viz.test_comparison import data_of
from tests.host.reading.test_inversion import WIDGETS
from tools.train.clips import make_clip


@pytest.fixture
def compare(pack, tmp_path, monkeypatch):
    """Runs the node with its files in a folder of the test's; what it gives and the data of the page."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    node = pack("nodes.compare").FastVMTCompare
    graph = {"workflow": {"nodes": [{"title": "a </script> b"}]}}
    monkeypatch.setattr(node, "hidden", SimpleNamespace(unique_id="7", extra_pnginfo=graph), raising=False)
    guided = torch.from_numpy(make_clip(3).frames)
    given = {"guided": guided, "reference": guided, "fps": 16.0, "filename_prefix": "made/page"}

    def run(**changes):
        output = node.execute(**given | changes)
        return output, data_of(Path(output.args[0]).read_text(encoding="utf-8"))

    return run


def frames_of(clip):
    """The frames of a clip of the page."""
    from base64 import b64decode

    head, code = clip["src"].split(",")
    assert head == "data:video/mp4;base64"
    with av.open(io.BytesIO(b64decode(code))) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_videos_are_in_the_file_at_one_size_and_length(compare):
    longer = make_clip(5, size=192, frames=33).frames
    output, data = compare(reference=torch.from_numpy(longer), unguided=torch.from_numpy(make_clip(4).frames))
    assert [clip["name"] for clip in data["clips"]] == ["reference", "guided", "not guided"]
    assert {frames_of(clip).shape for clip in data["clips"]} == {(17, 128, 128, 3)}
    shown = frames_of(data["clips"][1]) / 255
    # H.264 at the host's quality.
    assert np.abs(shown - make_clip(3).frames).mean() < 0.02
    assert Path(output.args[0]).name == "page_00001_.html" and Path(output.args[0]).parent.name == "made"
    assert output.ui["fastvmt_page"] == [{"filename": "page_00001_.html", "subfolder": "made", "type": "output"}]
    again, _ = compare()
    assert Path(again.args[0]).name == "page_00002_.html"


def test_what_is_connected_is_shown(compare, pack, tiny_model, vae, prompt):
    with torch.inference_mode():
        reference = {"samples": vae.encode(torch.from_numpy(make_clip(3).frames))}
        motion = pack("nodes.inversion").FastVMTInvertMotion.execute(tiny_model, reference, prompt, **WIDGETS).args[0]
    log = json.dumps({"steps": [{"losses": [2.0, None, 1.0]}]})
    _, data = compare(motion=motion, report='{"motion_fidelity": 0.5}', loss_log=log)
    assert data["losses"] == [2.0, 1.0] and data["figures"] == [["motion fidelity", "0.5"]]
    assert data["tracks"] and all(len(track) == 17 for track in data["tracks"])
    assert all(-0.5 < place < 1.5 for track in data["tracks"] for point in track for place in point)
    assert data["graph"] == {"nodes": [{"title": "a </script> b"}]}
    assert compare(keep_graph=False)[1]["graph"] is None


def test_half_a_character_is_shown_as_a_question_mark(compare):
    _, data = compare(report='{"fidelity": "half \\ud800"}')
    assert data["figures"] == [["fidelity", "half ?"]]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"filename_prefix": "../out"}, "filename_prefix"),
        ({"guided": torch.zeros(3, 8, 8)}, "guided"),
        ({"reference": torch.zeros(0, 8, 8, 3)}, "reference"),
        ({"unguided": torch.full((2, 8, 8, 3), torch.nan)}, "unguided"),
        ({"loss_log": "nonsense"}, "loss_log"),
        ({"report": "[" * 100_000}, "report"),
        ({"fps": float("nan")}, "fps"),
        ({"fps": 0.0}, "fps"),
    ],
)
def test_what_cannot_be_shown_is_named_before_anything_is_written(compare, tmp_path, changes, named):
    with pytest.raises(ValueError, match=f"^{named}: expected "):
        compare(**changes)
    assert not list(tmp_path.rglob("*.html"))
