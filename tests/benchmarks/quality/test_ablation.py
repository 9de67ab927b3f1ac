"""The ablation's page shows its results."""

import json
import re

import pytest

from benchmarks.quality import ablation
from benchmarks.runs.report import GUIDED, UNGUIDED, summarise
from benchmarks.runs.variants import BASE, Variant, read_variants
from fastvmt_core.presets import PRESETS
from tools.demo.transfer import GRAPH, node


def summary(files, correlations, **figures):
    """Of four references, each row's correlation as given (.9 elsewhere), as the bench summarises runs."""
    variants = [Variant(BASE), *(variant for file in files for variant in read_variants(file))]
    runs = [
        {
            "variant": variant.name,
            "reference": reference,
            "seed": 0,
            "guided": {
                **dict.fromkeys(GUIDED, 1.0),
                "lost": False,
                "correlation": correlations.get(variant.name, 0.9) + 0.001 * reference,
                "camera_correlation": 0.8 if "camera" in variant.name else None,
                **figures,
            },
            "unguided": {**dict.fromkeys(UNGUIDED, 0.5), "lost": False},
        }
        for variant in variants
        for reference in range(4)
    ]
    facts = {
        "settings": {"references": 4, "seeds": 1},
        "model": {"model": {"file": "tiny.safetensors", "sha256": "0123456789abcdef"}},
        "host": {"comfyui": "0.3", "torch": "2.9"},
    }
    return {**facts, **summarise(variants, runs, 200)}


@pytest.fixture(scope="module")
def results():
    return summary(sorted((ablation.HERE / "ablation").glob("*.json")), {"Delta 5": 0.7})


@pytest.fixture(scope="module")
def promised():
    return summary([ablation.PROMISED], {"Delta 1": 0.96, "192 pixels, window 5": 0.92})


@pytest.fixture(scope="module")
def shots():
    cut = {"second shot alone": 0.94, "second shot of a cut clip": 0.88}
    return summary([ablation.SHOTS], {"first shot alone": 0.9, **cut})


def test_each_table_is_at_the_name_of_its_group(results, promised, shots):
    text = (ablation.HERE / "ablation" / "groups.md").read_text(encoding="utf-8")
    made = ablation.page(text, results, promised, shots)
    assert not re.search(r"\{\w+\}", made)
    for name in (*results["variants"], *promised["variants"], *shots["variants"]):
        assert f"| {name} |" in made
    assert "| Delta 5 | 0.702 [0.70, 0.70] | 1.0 | -0.200 [-0.200, -0.200] |" in made
    assert "4 references x 1 seeds a row" in made and "`tiny.safetensors` (01234567)" in made


def test_the_loss_of_a_saving_or_a_cut_is_the_lead_of_the_other_row(promised, shots):
    lines = ablation.bounds(promised, shots).splitlines()[2:]
    assert lines == [
        "| Delta 3 instead of Delta 1 | +0.060 [+0.060, +0.060] | 0.05 | **no** |",
        "| adaptive instead of Delta 1 | +0.060 [+0.060, +0.060] | 0.05 | **no** |",
        "| window 5 instead of 192 pixels, whole frame | -0.020 [-0.020, -0.020] | 0.05 | yes |",
        "| a cut clip: its first shot instead of first shot alone | +0.000 [+0.000, +0.000] | 0.05 | yes |",
        "| a cut clip: its second shot instead of second shot alone | +0.060 [+0.060, +0.060] | 0.05 | **no** |",
    ]


def test_a_moving_background_gets_a_column_of_its_own(shots):
    rows = ablation.table(shots, ["33 frames", "camera"]).splitlines()
    assert rows[0].endswith("| background [95 %] |")
    assert rows[-2].endswith("|  |") and rows[-1].endswith("| 0.800 [0.80, 0.80] |")


def test_the_plot_is_drawn(results, tmp_path):
    pytest.importorskip("matplotlib")
    ablation.draw_gradients(tmp_path / "images" / "gradients.png", results)
    assert (tmp_path / "images" / "gradients.png").stat().st_size > 10_000


def test_the_groups_name_their_variants_once():
    groups = sorted((ablation.HERE / "ablation").glob("*.json"))
    names = [variant.name for file in (*groups, ablation.PROMISED, ablation.SHOTS) for variant in read_variants(file)]
    assert len(names) == len(set(names))
    assert set(re.findall(r"^\{(\w+)\}$", (ablation.HERE / "ablation" / "groups.md").read_text("utf-8"), re.M)) == {
        "bounds",
        "promised",
        "shots",
        *(file.stem for file in groups),
    }


def test_the_presets_are_the_rows_that_are_named_after_them():
    rows = {variant.name: variant.inputs for variant in read_variants(ablation.HERE / "ablation" / "steps.json")}
    base = node(json.loads(GRAPH.read_text(encoding="utf-8")), "Apply motion")["inputs"]
    for row, preset in ablation.PRESETS.items():
        changed = {name.removeprefix("Apply motion."): value for name, value in rows.get(row, {}).items()}
        settings = {**base, **changed}
        for name in ("inner_steps", "lr_start", "lr_end", "gradient_interval", "end_percent"):
            assert getattr(PRESETS[preset], name) == settings[name], (preset, name)
