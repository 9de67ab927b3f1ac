"""Help opens from the node in both languages, with its image; the nodes speak the user's language."""

import json

import pytest

from tools.host.layout import REPO

NODES = sorted(path.stem for path in (REPO / "web" / "docs").glob("*.md"))
FIRST_LINES = {
    language: {
        name: (REPO / "web" / "docs" / pattern.format(name)).read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for name in NODES
    }
    for language, pattern in (("en", "{}.md"), ("zh", "{}/zh.md"))
}


@pytest.mark.parametrize("language", ["en", pytest.param("zh", marks=pytest.mark.slow)])
def test_help_opens_from_every_node(open_page, shots, language):
    page = open_page(**{"Comfy.Locale": language})
    for name in NODES:
        page.do(
            """name => {
                window.app.graph.clear()
                const node = window.LiteGraph.createNode(name)
                node.title = name
                window.app.graph.add(node)
            }""",
            name,
        )
        page.look_at(name, 0.45)
        page.do("() => window.app.canvas.selectNode(window.app.graph._nodes[0])")
        page.click(page.page.get_by_test_id("info-button"))
        heading = page.page.locator(".node-help-content h1").first
        page.appears(heading.get_by_text(FIRST_LINES[language][name], exact=True))
        image = page.appears(page.page.locator(".node-help-content img").first)
        page.until("image => image.complete && image.naturalWidth > 100", image)
        page.shot(shots / f"{name}.png")
        page.click(page.page.get_by_test_id("info-button"))


def test_nodes_and_panel_speak_chinese(open_page, shots):
    page = open_page(**{"Comfy.Locale": "zh"})
    page.load(json.loads((REPO / "workflows" / "00_tiny_demo.json").read_text(encoding="utf-8")))
    words = json.loads((REPO / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))["FastVMTSampler"]
    panel = json.loads((REPO / "locales" / "zh" / "main.json").read_text(encoding="utf-8"))["fastvmt"]
    labels = page.do(
        "() => window.app.graph._nodes.find(n => n.title === 'Sample guided').widgets.map(w => [w.name, w.label])"
    )
    for name, label in labels:
        assert name not in words["inputs"] or label == words["inputs"][name]["name"]
    assert page.page.locator(".fastvmt-status").first.inner_text() == panel["idle"]
    page.look_at("Sample guided", 0.8)
    page.shot(shots / "chinese.png")
