"""Templates and translations are those that the tools make of the live server, and the server would take the jobs."""

import json

import pytest

from tools.build.locales import DOCS, node_words, read_words, with_newer_inputs, with_tables
from tools.build.signature import inputs_of, outputs_of
from tools.build.workflows import made
from tools.host.client import Client
from tools.host.layout import REPO

FILES = frozenset(
    ("ckpt_name", "unet_name", "clip_name", "clip_name1", "clip_name2", "vae_name", "lora_name", "image", "file")
)
"""Widgets that name a file which the user brings."""
JOBS = sorted(path.name for path in (REPO / "workflows").glob("*.json"))


@pytest.fixture(scope="module")
def info(server):
    with Client(server.url) as client:
        return client.object_info()


def test_the_shipped_forms_are_those_that_the_tool_makes(info):
    files = made(info)
    assert len(files) == 2 * len(JOBS) + 3
    for path, text in files.items():
        # Otherwise: python -m tools.build workflows
        assert (REPO / path).read_text(encoding="utf-8") == text, path


def test_the_server_lists_the_blueprints(server):
    import requests

    with requests.Session() as session:
        session.trust_env = False
        listed = session.get(f"{server.url}/api/global_subgraphs", timeout=30).json()
    ours = {entry["name"] for entry in listed.values() if entry["source"] == "custom_node"}
    assert ours >= {path.stem for path in (REPO / "subgraphs").glob("*.json")}


@pytest.mark.parametrize("name", JOBS)
def test_every_input_of_a_job_is_one_that_the_server_takes(info, name):
    job = json.loads((REPO / "assets" / "api" / name).read_text(encoding="utf-8"))
    for node in job.values():
        declared = {each.name: each for each in inputs_of(node["class_type"], info)}
        assert set(node["inputs"]) <= set(declared)
        assert {name for name, each in declared.items() if not each.optional} <= set(node["inputs"])
        for name, value in node["inputs"].items():
            each = declared[name]
            if isinstance(value, list):
                source, output = value
                assert each.type in (outputs_of(job[source]["class_type"], info)[output][1], "*")
            elif each.type == "COMBO":
                assert name in FILES or value in each.choices, (node["class_type"], name, value)
            elif each.type in ("INT", "FLOAT"):
                assert each.options.get("min", value) <= value <= each.options.get("max", value)
                assert each.type == "FLOAT" or isinstance(value, int)


def test_translations_follow_the_nodes(info):
    # Otherwise: python -m tools.build locales, after the Chinese words were written.
    shipped = {language: read_words(language) for language in ("en", "zh")}
    english = with_newer_inputs(node_words(info), shipped["en"])
    assert shipped["en"] == english
    for name, words in english.items():
        chinese = shipped["zh"][name]
        assert list(chinese.get("inputs", {})) == list(words.get("inputs", {})), name
        assert len(chinese.get("outputs", {})) == len(words.get("outputs", {})), name
        for path, shown, language in ((DOCS / f"{name}.md", words, "en"), (DOCS / name / "zh.md", chinese, "zh")):
            text = path.read_text(encoding="utf-8")
            assert with_tables(text, shown, language) == text, path.name
            assert (DOCS / f"{name}.jpg").is_file() and f"({name}.jpg)" in text


MISTAKES = {"en": "\n## Common mistakes\n\n- **", "zh": "\n## 常见错误\n\n- **"}


@pytest.mark.parametrize("language", MISTAKES)
def test_help_says_what_goes_wrong(language):
    pages = sorted(DOCS.glob("*.md") if language == "en" else DOCS.glob("*/zh.md"))
    assert pages
    lacking = [str(path.relative_to(DOCS)) for path in pages if MISTAKES[language] not in path.read_text("utf-8")]
    assert lacking == []
