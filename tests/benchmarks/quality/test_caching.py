"""What is measured of clips with reused gradients, and the classifier that tries to tell them."""

import numpy as np
import pytest

from benchmarks.quality.caching_seen import (
    BANDS,
    FRESH,
    LATENT,
    OTHERS,
    UNGUIDED,
    features,
    figures_of,
    flickering,
    page,
    recognised,
    report_of,
)
from benchmarks.runs.references import Reference, Target
from tools.train.clips import make_clip


def asked_for(index):
    """A reference whose own clip is what was asked for, and the clip."""
    clip = make_clip(index)
    target = Target(clip.colour, clip.shape, clip.path)
    return Reference(f"plain {index}", clip.frames, clip.prompt, (target,)), clip.frames


def test_a_true_clip_does_not_flicker_and_one_percent_is_measured():
    reference, frames = asked_for(3)
    still = figures_of(frames, reference)
    assert still["correlation"] > 0.99 and still["error_px"] < 1 and not still["lost"]
    assert still["flicker"] < 1e-3
    # Second differences of independent changes of 1 %: sqrt(6) of it, of the background's brightness.
    grey = frames.mean(-1)
    expected = 0.01 * np.sqrt(6) * np.median(grey) * 255
    measured = np.mean([figures_of(flickering(frames, seed), reference)["flicker"] for seed in range(8)])
    assert measured == pytest.approx(expected, rel=0.25)


def test_a_rough_path_is_measured():
    reference, frames = asked_for(3)
    shaken = frames.copy()
    shaken[1::2] = np.roll(frames[1::2], 4, axis=2)
    assert figures_of(shaken, reference)["roughness"] > 3 * figures_of(frames, reference)["roughness"]


def test_there_are_as_many_features_as_the_page_names():
    assert len(features(asked_for(3)[1].mean(-1))) == 3 * (len(BANDS) + 1) + LATENT


def test_the_classifier_tells_what_differs_always_and_guesses_where_nothing_does():
    random = np.random.default_rng(0)
    fresh = random.normal(size=(200, 6))
    assert recognised(fresh + [0.5, 0, 0, 0, 0, 0] + 0.1 * random.normal(size=fresh.shape), fresh) == 200
    # Of 200 guesses, within three standard deviations of half.
    assert abs(recognised(fresh + random.normal(size=fresh.shape), fresh) - 100) <= 22


def test_the_page_shows_every_row():
    clips = {}
    for index in range(3):
        _, frames = asked_for(index)
        for number, row in enumerate((UNGUIDED, FRESH, *OTHERS)):
            clips[row, index] = flickering(frames, 10 * index + number)
    runs = [
        {"row": row, "reference": index, **figures_of(frames, asked_for(index)[0])}
        for (row, index), frames in clips.items()
    ]
    report = report_of(runs, lambda row, index: clips[row, index], 3)
    text = page("{references} {features}\n{figures}\n{recognised}", {**report, "schedule": {"inner_steps": 10}})
    assert text.startswith("3 16\n")
    assert "| Delta 3 | 4 | " in text and "| Delta 5 | 2 | " in text and "| not guided | 0 | " in text
    assert "of 3 [" in text
