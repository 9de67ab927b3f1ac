"""The page of objectives: its figures are those of the runs, and its costs those of what each objective reads."""

from __future__ import annotations

import pytest

from benchmarks.quality import objectives
from benchmarks.runs.references import KINDS as REFERENCE_KINDS
from benchmarks.runs.variants import read_variants
from fastvmt_core.objectives.registry import METHODS


def run(variant, reference, seed, correlation, cells):
    guided = {
        "correlation": correlation,
        "error_px": 4.0,
        "colour_kept": True,
        "shape_kept": False,
        "colour_leaked": False,
        "shape_leaked": True,
        "gradient_evaluations": 15,
        "cells": cells,
    }
    unguided = {**guided, "correlation": 0.0, "gradient_evaluations": None}
    return {"variant": variant, "reference": reference, "seed": seed, "guided": guided, "unguided": unguided}


def test_every_objective_has_a_row_at_equal_budget_and_one_at_its_schedule():
    variants = read_variants(objectives.VARIANTS)
    for name, method in METHODS.items():
        mine = [v for v in variants if v.name.startswith(f"{name}, ")]
        chosen = [v.nodes.get("Objective", {}).get("inputs", {}).get("objective", "FastVMT") for v in mine]
        assert chosen == [name] * len(mine)
        # Where the schedule is one Polyak gradient a step in the first 60 %, it is the row at equal budget.
        assert len(mine) == (1 if method.schedule.optimizer == "polyak" else 2)


def test_rates_are_scaled_alike_and_all_else_is_the_published_schedule():
    for variant in read_variants(objectives.VARIANTS):
        name, _, row = variant.name.partition(", ")
        if row != "its schedule":
            continue
        plan = METHODS[name].schedule
        given = {key.removeprefix("Apply motion."): value for key, value in variant.inputs.items()}
        for key in ("inner_steps", "gradient_interval", "end_percent"):
            assert given[key] == getattr(plan, key)
        for key in ("lr_start", "lr_end"):
            assert given[key] == pytest.approx(getattr(plan, key) * 0.05 / 0.003, rel=0.01)


def test_the_table_shows_the_runs_and_leaves_out_rows_without():
    first = "FastVMT, 15 gradients"
    runs = [run(first, 0, 0, 0.9, [0.0, 0.0]), run(first, 0, 1, 0.7, [0.3, 0.4]), {"variant": "x", "error": "no"}]
    lines = objectives.table([first, "SMM, 15 gradients"], runs).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| not guided | 2 | 0.000 [0.00, 0.00] |")
    assert lines[3] == f"| {first} | 2 | 0.800 [0.80, 0.80] | 4.00 | 1.00 / 0.00 | 0.00 / 1.00 | 0.354 | 15 |"


def test_a_rival_that_is_trained_shows_its_iterations():
    tuned = run("DeT, tuned", 0, 0, 0.5, [0.0])
    tuned["guided"] |= {"gradient_evaluations": 0, "tuning_iterations": 200}
    assert objectives.table(["DeT, tuned"], [tuned]).endswith("| 200 before |")


def test_kinds_of_clips_are_rows_and_methods_columns():
    runs = [run("A: jump", 0, 0, 0.9, []), run("A: jump", 1, 0, 0.7, []), run("A: camera", 0, 0, 0.5, [])]
    runs[2]["guided"]["camera_correlation"] = 0.25
    runs += [{"variant": "B: camera", "reference": 0, "seed": 0, "error": "ValueError: refused"}]
    table = objectives.kinds(["A: jump", "B: jump", "A: camera", "B: camera", "A: cut", "B: cut"], runs).splitlines()
    assert table[0] == "| clips of | number | not guided | A | B |"
    assert table[2] == "| jump | 2 | 0.00 / 4.0 px | 0.80 / 4.0 px | - |"
    assert table[3] == "| camera | 1 | 0.00 / 4.0 px | 0.50 / 4.0 px, background 0.25 | refused |"
    assert len(table) == 4


def test_the_figures_of_the_videos_leave_out_runs_without_them():
    runs = [run("A", 0, 0, 0.9, []), run("A", 1, 0, 0.9, []), run("B", 0, 0, 0.9, [])]
    for side in ("guided", "unguided"):
        figures = {"flickering": 0.9, "smoothness": None, "dynamic_degree": 2.0, "consistency": 0.8}
        runs[0][side] = {**runs[0][side], **figures, "shared_layout": 0.1}
    lines = objectives.quality(["A", "B"], runs).splitlines()
    assert lines[2:] == [
        "| not guided | 1 | 0.900 | - | 2.000 | 0.800 | 0.100 |",
        "| A | 1 | 0.900 | - | 2.000 | 0.800 | 0.100 |",
    ]


def test_kinds_are_compared_at_the_same_settings():
    variants = {variant.name: variant for variant in read_variants(objectives.VARIANTS)}
    for variant in read_variants(objectives.KINDS):
        row = variant.name.partition(": ")[0]
        assert variant.reference["kind"] in REFERENCE_KINDS
        if row in variants:
            assert (variant.inputs, variant.nodes) == (variants[row].inputs, variants[row].nodes)


def test_a_gradient_costs_by_what_is_read():
    cost = {name: objectives.forward_passes(method) for name, method in METHODS.items()}
    assert cost["FastVMT"] == cost["flow of values"] == pytest.approx(1.4)
    assert cost["SMM"] == pytest.approx(1.5) and cost["FlowMotion"] == 1
