"""What runs are made from: the code in their digest, and the model files."""

import pytest

from benchmarks.runs import sources
from benchmarks.runs.sources import find_model
from tools.host.layout import REPO

MODEL = REPO / "assets" / "models" / "diffusion_models" / "tinywan_dit_fp16.safetensors"


def test_every_pattern_matches_code():
    files = {file.relative_to(REPO).as_posix() for file in sources.sources()}
    assert {"fastvmt_core/config.py", "fastvmt_core/attention/flow.py", "nodes/guidance.py"} <= files
    assert any(file.startswith("nodes/host/sampling/") for file in files)


def test_a_pattern_without_files_is_an_error(monkeypatch):
    monkeypatch.setattr(sources, "SOURCES", (*sources.SOURCES, "benchmarks/runs/gone.py"))
    with pytest.raises(RuntimeError, match=r"got none for benchmarks/runs/gone\.py"):
        sources.sources()


def test_a_model_is_a_path_or_one_of_the_demo_s():
    assert find_model("model", str(MODEL)) == find_model("model", MODEL.name) == MODEL
    with pytest.raises(ValueError, match="model: expected a file or the name of one of the demo's, got 'no'"):
        find_model("model", "no")
