"""Runs of the bench: their digests, references as the nodes fit them."""

import json

import numpy as np
import pytest
import torch

from benchmarks.runs.bench import FittedReference, Plan, fitted_path, fitted_reference
from benchmarks.runs.sources import model_files
from benchmarks.runs.variants import Link, Variant
from fastvmt_core.config import ClipConfig
from fastvmt_core.video.clip import fit_clip
from tools.demo.transfer import GRAPH
from tools.train.clips import make_clip
from tools.train.track import track

FILES = model_files(json.loads(GRAPH.read_text(encoding="utf-8")), {})


def plan(files=FILES, **reference):
    return Plan((Variant("a"),), files, {"size": 128, **reference})


def test_a_digest_is_of_the_settings_and_not_of_the_name():
    base = plan().digest(Variant("a"))
    assert plan().digest(Variant("b", against="a")) == base
    assert plan().digest(Variant("a", {"Invert motion.block": 2})) != base
    assert plan().digest(Variant("a", {"Invert motion.sigmas": Link("Levels", 0)})) != base
    assert plan(frames=33).digest(Variant("a")) != base
    assert plan({**FILES, "model": FILES["vae"]}).digest(Variant("a")) != base


def test_both_parts_of_a_cut_clip_share_their_frames_and_shots_do_not():
    config = ClipConfig(width=128, height=128, length=17, source_fps=16)

    def signature(kind, part):
        fitted = fitted_reference(0, {"kind": kind, "frames": 17, "part": part}, config)
        assert isinstance(fitted, FittedReference)
        return fitted.feed.signature

    assert signature("cut", 0) == signature("cut", 1)
    assert signature("shot", 0) != signature("shot", 1)


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
