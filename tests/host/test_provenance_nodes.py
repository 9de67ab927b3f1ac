"""The nodes that write and read a video's origin, in the real host, outside of a running graph."""

import json
import os
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.core.motion.made_files import a_motion, header_of
from tests.core.provenance.made_videos import new_key, write_certificate, write_key, write_video
from tools.demo.transfer import GRAPH
from tools.train.clips import make_clip

REFERENCE = GRAPH.parents[1] / "reference.mp4"
WIDGETS = {"filename_prefix": "video/tried", "format": "mp4", "certificate": "test certificate", "mark": -1}


@pytest.fixture
def folders(pack, comfyui, monkeypatch, tmp_path):
    """The host's folders, below a folder of this test's own."""
    import folder_paths

    for name in ("input", "output", "temp", "user"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path


@pytest.fixture
def video(comfyui):
    from fractions import Fraction

    from comfy_api.latest import InputImpl, Types

    images = torch.from_numpy(make_clip(3, camera=True).frames)
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=Fraction(16)))


def video_of(*shape, grey=0.5):
    """A VIDEO of frames (T, H, W, 3) of one grey."""
    from fractions import Fraction

    from comfy_api.latest import InputImpl, Types

    parts = Types.VideoComponents(images=torch.full((*shape, 3), grey), frame_rate=Fraction(16))
    return InputImpl.VideoFromComponents(parts)


@pytest.fixture
def save(pack, folders, monkeypatch):
    pytest.importorskip("c2pa")
    node = pack("nodes.provenance").FastVMTSaveVideoCredentials
    hidden = SimpleNamespace(unique_id="1", prompt={"1": "a graph"}, extra_pnginfo=None)
    monkeypatch.setattr(node, "hidden", hidden, raising=False)
    return lambda video, **given: node.execute(**{**WIDGETS, "name_reference": False, "video": video, **given})


@pytest.fixture
def check(pack, folders, monkeypatch):
    node = pack("nodes.provenance").FastVMTCheckVideo
    monkeypatch.setattr(node, "hidden", SimpleNamespace(unique_id="2"), raising=False)

    def run(path):
        if path.is_file() and path.parent != folders / "input":
            shutil.copy(path, folders / "input")
        done = node.execute(path.name)
        return json.loads(done.args[0]), done.ui.as_dict()["text"][0]

    return run


@pytest.mark.parametrize("kind", ["mp4", "webp"])
def test_what_is_saved_is_read_again(pack, save, check, video, folders, kind):
    motion = pack("fastvmt_core.motion.embedding").MotionEmbedding
    a_motion().save(folders / "a.safetensors")
    given = {"motion": motion.load(folders / "a.safetensors"), "name_reference": True}
    saved = save(video, format=kind, mark=4_000_000_000, **given)
    assert saved.args == (f"video/tried_00001_.{kind}",)
    assert saved.ui["images"] == [{"filename": f"tried_00001_.{kind}", "subfolder": "video", "type": "output"}]
    assert saved.ui["animated"] == (True,)
    report, text = check(folders / "output" / saved.args[0])
    assert report["credentials"]["ingredients"] == {
        "motion": f"urn:sha256:{header_of(folders / 'a.safetensors')['checksum']}",
        "reference": f"urn:sha256:{a_motion().reference_hash}",
    }
    assert report["credentials"]["state"] == "valid" and report["credentials"]["test_certificate"]
    assert report["mark"]["found"] and report["mark"]["number"] == 4_000_000_000
    assert "unchanged since FastVMT test certificate signed" in text and "Mark: 4000000000" in text
    # Counted on, and nothing is left behind.
    assert save(video, format=kind).args == (f"video/tried_00002_.{kind}",)
    assert {path.name for path in (folders / "output" / "video").iterdir()} == {
        f"tried_0000{number}_.{kind}" for number in (1, 2)
    }


def test_the_reference_is_stated_only_on_request(save, check, video, folders):
    found = check(folders / "output" / save(video, motion=a_motion()).args[0])[0]["credentials"]
    assert list(found["ingredients"]) == ["motion"] and found["actions"] == ["c2pa.created", "c2pa.edited"]


def test_ones_own_certificate_is_offered_and_signs(pack, save, check, video, folders):
    folder = pack("nodes.host.files.signed_video").certificate_folder()
    assert folder == folders / "user" / "__fastvmt" / "certificates"
    folder.mkdir(parents=True)
    key = new_key()
    write_certificate(folder, "Ana", key)
    write_key(folder, "Ana", key)
    schema = pack("nodes.provenance").FastVMTSaveVideoCredentials.define_schema()
    (certificate,) = (each for each in schema.inputs if each.id == "certificate")
    assert certificate.options == ["test certificate", "Ana"]
    report, text = check(folders / "output" / save(video, certificate="Ana").args[0])
    assert (report["credentials"]["signed_by"], report["credentials"]["test_certificate"]) == ("Ana", False)
    assert "that name is not checked" in text


def test_the_workflow_is_in_the_file_and_the_key_is_not(save, video, folders):
    content = (folders / "output" / save(video).args[0]).read_bytes()
    assert b"a graph" in content and b"PRIVATE KEY" not in content


@pytest.mark.parametrize("kind", ["mp4", "webp"])
@pytest.mark.parametrize("mark", [-1, 7])
def test_a_video_of_odd_size_is_saved(save, check, folders, kind, mark):
    path = folders / "output" / save(video_of(5, 129, 131), format=kind, mark=mark).args[0]
    assert check(path)[0]["credentials"]["state"] == "valid"


def test_a_mark_that_compression_removes_is_reported_and_not_stated(save, check, folders):
    saved = save(video_of(5, 128, 128, grey=0.0), mark=4294967295)
    assert "Mark: LOST" in saved.ui["text"][0]
    report, text = check(folders / "output" / saved.args[0])
    assert report["credentials"]["actions"] == ["c2pa.created"] and "Mark: none found" in text
    assert report["mark"]["found"] is False and report["mark"]["number"] is None


def test_a_cancel_while_the_mark_is_read_back_leaves_no_file(pack, save, video, folders, monkeypatch):
    from comfy.model_management import InterruptProcessingException

    def cancelled(_):
        raise InterruptProcessingException

    monkeypatch.setattr(pack("nodes.host.files.signed_video"), "read_mark", cancelled)
    with pytest.raises(InterruptProcessingException):
        save(video, mark=7)
    assert list((folders / "output").rglob("*.*")) == []


@pytest.mark.parametrize("prefix", ["w" * 240, "/".join(["w" * 200] * 6)])
def test_a_name_that_is_too_long_is_named(save, folders, prefix):
    with pytest.raises(ValueError, match="^filename_prefix: expected a "):
        save(video_of(5, 64, 64), filename_prefix=prefix)
    save(video_of(5, 64, 64), filename_prefix="w" * 237)


@pytest.mark.parametrize("prefix", ["../tried", "/tmp/tried", "video/../../tried", "con"])
def test_a_name_does_not_leave_the_output_folder(save, video, folders, prefix):
    with pytest.raises(ValueError, match="filename_prefix: expected "):
        save(video, filename_prefix=prefix)
    assert list(folders.rglob("tried*")) == []


def test_a_clip_that_is_too_small_for_a_mark_is_refused_and_leaves_nothing(save, folders):
    with pytest.raises(ValueError, match="video: expected frames of 96 pixels or more"):
        save(video_of(5, 64, 64), mark=1)
    assert list((folders / "output").rglob("*.*")) == []


def test_a_changed_file_is_reported(save, check, video, folders):
    path = folders / "output" / save(video).args[0]
    content = bytearray(path.read_bytes())
    content[content.index(b"mdat") + 100] ^= 1
    path.write_bytes(content)
    report, text = check(path)
    assert report["credentials"]["state"] == "changed" and "CHANGED" in text


def test_a_file_of_the_input_folder_is_checked(check, folders):
    write_video(folders / "input" / "stranger.webp")
    report, text = check(folders / "input" / "stranger.webp")
    assert report["credentials"] == {"state": "none"} and not report["mark"]["found"]
    assert text == "Content Credentials: none.\nMark: none found."


@pytest.mark.parametrize("name", ["noise.mp4", "noise.webp"])
def test_a_file_that_is_no_video_is_reported(check, folders, name):
    (folders / "input" / name).write_bytes(b"RIFF0000WEBP" + b"noise" * 100)
    report, text = check(folders / "input" / name)
    assert report["mark"] is None and "there is no video that can be read" in text


@pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
def test_what_is_no_regular_file_is_neither_offered_nor_opened(pack, check, folders, kind):
    path = folders / "input" / "x.mp4"
    {"fifo": os.mkfifo, "folder": os.mkdir, "link": lambda path: path.symlink_to("nowhere")}[kind](path)
    (file,) = pack("nodes.provenance").FastVMTCheckVideo.define_schema().inputs
    assert file.options == []
    with pytest.raises(ValueError, match="^file: expected a file in input/"):
        check(path)


@pytest.mark.parametrize("file", ["absent.mp4", "../secret.mp4", "/etc/hostname", "text.txt"])
def test_a_file_that_is_not_there_is_refused(pack, check, folders, file):
    (folders / "secret.mp4").write_bytes(b"")
    (folders / "input" / "text.txt").write_bytes(b"")
    with pytest.raises(ValueError, match="^file: expected a file in input/"):
        pack("nodes.provenance").FastVMTCheckVideo.execute(file)


def test_a_certificate_that_c2pa_refuses_leaves_no_file(pack, save, video, folders):
    folder = pack("nodes.host.files.signed_video").certificate_folder()
    folder.mkdir(parents=True)
    write_certificate(folder, "old", new_key())
    write_key(folder, "old", new_key())
    with pytest.raises(ValueError, match="^certificate: .*one that C2PA refuses"):
        save(video, certificate="old")
    assert list((folders / "output").rglob("*.*")) == []


def test_without_the_package_the_mark_is_still_read(pack, check, folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    report, text = check(REFERENCE)
    assert report["credentials"]["state"] == "unread" and "pip install c2pa-python" in text
    assert text.endswith("Mark: none found.")


def test_without_the_package_nothing_is_saved(save, video, folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ImportError, match="pip install c2pa-python in ComfyUI's Python environment, then restart"):
        save(video)
    assert list((folders / "output").iterdir()) == []
