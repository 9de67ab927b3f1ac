"""The page of objectives: its figures are those of the runs, and its costs those of what each objective reads."""

from __future__ import annotations

import pytest

from benchmarks.quality import objectives
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


def test_a_gradient_costs_by_what_is_read():
    cost = {name: objectives.forward_passes(method) for name, method in METHODS.items()}
    assert cost["FastVMT"] == cost["flow of values"] == pytest.approx(1.4)
    assert cost["SMM"] == pytest.approx(1.5) and cost["FlowMotion"] == 1
