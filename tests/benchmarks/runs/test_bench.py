"""What surrounds a run: the file that keeps runs, paths in fitted clips, what a run is made from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.runs.bench import Plan, Store, find_model, fitted_path
from benchmarks.runs.variants import Variant
from fastvmt_core.config import ClipConfig
from fastvmt_core.video.clip import fit_clip
from tools.train.clips import make_clip
from tools.train.track import track

MODEL = find_model("model", "tinywan_dit_fp16.safetensors", Path())
VAE = find_model("vae", "tinywan_vae_fp16.safetensors", Path())


def plan(**reference):
    return Plan((Variant("a"),), 1, MODEL, VAE, {"size": 128, **reference})


def test_a_bench_that_was_stopped_finds_its_runs_again(tmp_path):
    store = Store(tmp_path / "out.json")
    assert store.read() == []
    store.add({"variant": "a", "reference": 0})
    store.add({"variant": "a", "reference": 1})
    (tmp_path / "out.json.partial").open("a").write('{"variant": "a", "refe')
    assert [run["reference"] for run in Store(tmp_path / "out.json").read()] == [0, 1]


def test_a_finished_report_replaces_what_was_kept(tmp_path):
    store = Store(tmp_path / "out.json")
    store.add({"reference": 0})
    store.finish({"runs": [{"reference": 0}]})
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    store.add({"reference": 1})
    assert [run["reference"] for run in store.read()] == [0, 1]


def test_a_run_is_known_by_what_it_was_made_from_and_not_by_its_name():
    base = plan().digest(Variant("a"))
    assert plan().digest(Variant("b", against="a")) == base
    assert plan().digest(Variant("a", {"block": 2})) != base
    assert plan(frames=33).digest(Variant("a")) != base
    assert plan().digest(Variant("a", model=VAE.name and str(VAE))) != base


def test_a_model_is_a_path_or_one_of_the_demo_s():
    assert find_model("model", str(MODEL), Path()) == MODEL
    assert find_model("model", None, VAE) == VAE
    with pytest.raises(ValueError, match="model: expected a file or the name of one of the demo's, got 'no'"):
        find_model("model", "no", Path())


@pytest.mark.parametrize(
    ("size", "fit"), [((128, 128), "crop"), ((96, 160), "crop"), ((96, 160), "pad"), ((96, 160), "stretch")]
)
def test_a_path_is_where_the_sprite_lies_in_the_fitted_clip(size, fit):
    clip = make_clip(1002, "red", "circle", "plain", size=192)
    fitted = fit_clip(
        torch.from_numpy(clip.frames), ClipConfig(width=size[1], height=size[0], length=9, fit=fit, source_fps=16)
    ).frames.numpy()
    path = fitted_path(clip.path, (192, 192), fitted, fit)
    assert path.shape == (9, 2)
    inside = ((path > 22) & (path < np.array(size[::-1]) - 22)).all(1)
    # A sprite that is cut off has its centroid elsewhere; a whole one is found to a fraction of a pixel.
    assert inside.any()
    assert np.abs(track(fitted, "red") - path)[inside].max() < 0.6
