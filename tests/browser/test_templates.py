"""Every template opens from the page's own template browser, whole, and is the job that assets/api/ holds."""

import json
import re

import pytest

from tools.host.layout import REPO

SENT_BY_THE_PAGE = frozenset(("video-preview", "preview"))
"""The empty values of its player of a loaded video, and of its box for a text."""
NAMES = sorted(path.stem for path in (REPO / "workflows").glob("*.json"))


def open_template(page, name):
    """Open a template as a person does: template browser, our pack, the card."""
    page.do("() => window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.click(page.page.get_by_role("dialog").get_by_text("fastvmt", exact=True).first)
    card = page.page.get_by_test_id(f"template-workflow-{name}")
    page.appears(card).scroll_into_view_if_needed()
    image = page.appears(card.locator("img").first)
    page.until("image => image.complete && image.naturalWidth > 0", image)
    page.click(card)
    page.until(
        "name => window.app.extensionManager.workflow.activeWorkflow?.filename?.startsWith(name)"
        " && !document.querySelector('[role=dialog]')",
        name,
    )
    page.settle()


@pytest.mark.parametrize("name", NAMES)
def test_a_template_opens_whole_and_is_its_api_form(one_page, shots, name):
    page = one_page
    page.errors.clear()
    open_template(page, name)
    page.fit()
    page.shot(shots / "opened.png")
    saved = json.loads((REPO / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    opened = page.do("() => window.app.graph._nodes.map(node => [node.id, node.type, node.has_errors ?? false])")
    assert sorted(opened) == sorted([node["id"], node["type"], False] for node in saved["nodes"])
    unknown = page.do(
        "() => window.app.graph._nodes.map(n => n.type).filter(t => !window.LiteGraph.registered_node_types[t])"
    )
    assert unknown == []
    # Nothing needs more room than the template gives it.
    small = page.do(
        "() => window.app.graph._nodes.map(n => [n.title, n.size[1], n.computeSize()[1]]).filter(n => n[2] > n[1] + 1)"
    )
    assert small == []
    made = page.do("async () => (await window.app.graphToPrompt()).output")
    shipped = json.loads((REPO / "assets" / "api" / f"{name}.json").read_text(encoding="utf-8"))
    assert as_run(made) == as_run(shipped)
    assert page.complaints == []


def as_run(job):
    """What the server would run of a job."""
    return {
        identity: {
            "class_type": node["class_type"],
            # The page's player of a loaded video sends its empty value along, and so does its box of text.
            "inputs": {
                name: value for name, value in node["inputs"].items() if name not in ("video-preview", "preview")
            },
            "title": node["_meta"]["title"],
        }
        for identity, node in job.items()
    }


BLUEPRINTS = sorted(path.stem for path in (REPO / "subgraphs").glob("*.json"))


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_opens_whole(one_page, shots, name):
    page = one_page
    page.errors.clear()
    blueprint = json.loads((REPO / "subgraphs" / f"{name}.json").read_text(encoding="utf-8"))
    page.load(blueprint)
    page.shot(shots / "opened.png")
    (node,) = blueprint["nodes"]
    shown = page.do(
        """() => {
            const node = window.app.graph.nodes[0]
            const inside = node.subgraph.nodes.map((each) => [each.type, each.has_errors ?? false])
            const names = [node.inputs, node.outputs].map((slots) => slots.map((slot) => slot.name))
            return [node.title, ...names, node.widgets.length, inside]
        }"""
    )
    inside = [[each["type"], False] for each in blueprint["definitions"]["subgraphs"][0]["nodes"]]
    names = [[slot["name"] for slot in node[part]] for part in ("inputs", "outputs")]
    assert shown[:3] == [name, *names]
    assert shown[3] == len(node["properties"]["proxyWidgets"]) and sorted(shown[4]) == sorted(inside)
    assert page.complaints == []


SHOWS = frozenset(
    (
        "FastVMTEncodeReference",
        "FastVMTInvertMotion",
        "FastVMTLoadMotion",
        "FastVMTMotionFidelity",
        "FastVMTPreviewMotion",
        "FastVMTSaveMotion",
        "PreviewAny",
        "PreviewImage",
        "SaveVideo",
    )
)
"""Nodes with a text, images or a video on them after a run."""
RUNS = [(name, bool(number % 2)) for number, name in enumerate(name for name in NAMES if "_tiny_" in name)]
"""Each template of the tiny model, in turn on the classic canvas and with Nodes 2.0."""

FEWER_STEPS = """() => {
    for (const node of window.app.graph._nodes)
        for (const widget of node.widgets ?? [])
            if (widget.name === 'steps') widget.value = Math.min(widget.value, 8)
}"""
"""Of all but the first template, which is run as it is: what is tried is the page."""

IN_ORDER = {"06_tiny_quick_look": ("Video quick look", "Encode reference")}
"""Nodes of which one must be done before another begins."""


@pytest.mark.parametrize(
    ("name", "nodes_2"),
    [
        pytest.param(
            name,
            new,
            id=f"{name}-{'nodes2' if new else 'classic'}",
            # The first is run by scripts/test.sh as well.
            marks=[pytest.mark.slow] if number else [],
        )
        for number, (name, new) in enumerate(RUNS)
    ],
)
def test_a_tiny_template_runs_to_its_end_from_the_run_button(open_page, page_server, shots, name, nodes_2):
    if name == "04_tiny_fidelity_report":
        pytest.importorskip("cv2")
    page = open_page(**{"Comfy.VueNodes.Enabled": nodes_2})
    open_template(page, name)
    if (name, nodes_2) != RUNS[0]:
        page.do(FEWER_STEPS)
    folder = page_server.base / "output" / "fastvmt"
    before = set(folder.glob("*.mp4"))
    page.do(
        """() => {
            window.failures = []
            window.ran = []
            window.app.api.addEventListener('executing', event => window.ran.push(String(event.detail)))
            const note = event => window.failures.push(`${event.detail.node_type}: ${event.detail.exception_message}`)
            window.app.api.addEventListener('execution_error', note)
        }"""
    )
    page.run()
    page.until(
        """() => {
            const panels = [...document.querySelectorAll('.fastvmt-panel')]
            const guides = window.app.graph._nodes.some(n => ['FastVMTApplyMotion', 'FastVMTSampler'].includes(n.type))
            const shown = guides ? panels.length && panels.every(panel => panel.dataset.state === 'done') : true
            // The end of a job is an event without a node.
            const ended = window.ran.at(-1) === 'null' && window.app.ui.lastQueueSize === 0
            return window.failures.length || (shown && ended)
        }"""
    )
    assert page.do("() => window.failures") == []
    page.settle()
    page.fit()
    page.shot(shots / "done.png")
    nodes = {node["title"]: node for node in json.loads((REPO / "workflows" / f"{name}.json").read_text())["nodes"]}
    ran = page.do("() => window.ran")
    places = [ran.index(str(nodes[title]["id"])) for title in IN_ORDER.get(name, ())]
    assert places == sorted(places)
    # Every node that shows something has something to show.
    outputs = page.do("async () => Object.values(await (await fetch('/api/history?max_items=1')).json())[0].outputs")
    shows = {title for title, node in nodes.items() if node["type"] in SHOWS}
    assert {title for title in shows if outputs.get(str(nodes[title]["id"]))} == shows
    made = set(folder.glob("*.mp4")) - before
    saved = {f"Video {re.sub(r'_[0-9]+_$', '', path.stem).replace('_', ' ')}" for path in made}
    assert saved >= {title for title in nodes if title.startswith("Video") and title != "Video reference"}
    assert all(path.stat().st_size > 0 for path in made)
    assert overlaps(page) == []
    for title in sorted(shows):
        page.look_at(title)
        page.shot(shots / f"{title}.png")


def overlaps(page):
    """Titles of nodes that lie on each other."""
    return page.do(
        """() => {
            const boxes = window.app.graph._nodes.map(node => [node.title, ...node.getBounding()])
            const on = (a, b) => a[1] + 1 < b[1] + b[3] && b[1] + 1 < a[1] + a[3]
                && a[2] + 1 < b[2] + b[4] && b[2] + 1 < a[2] + a[4]
            return boxes.flatMap((a, n) => boxes.slice(n + 1).filter(b => on(a, b)).map(b => [a, b]))
        }"""
    )
