"""Every template opens from the page's own template browser, whole, and is the job that demo/api/ holds."""

import json

import pytest

from tools.host.layout import REPO

NAMES = sorted(path.stem for path in (REPO / "workflows").glob("*.json"))


def open_template(page, name):
    """Open a template as a person does: template browser, our pack, the card."""
    page.do("() => window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.page.get_by_role("dialog").get_by_text("fastvmt", exact=True).first.click()
    card = page.page.get_by_test_id(f"template-workflow-{name}")
    card.scroll_into_view_if_needed()
    picture = card.locator("img").first
    page.until("image => image.complete && image.naturalWidth > 0", picture.element_handle())
    card.click()
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
    found = page.do("() => window.app.graph._nodes.map(node => [node.id, node.type, node.has_errors ?? false])")
    assert sorted(found) == sorted([node["id"], node["type"], False] for node in saved["nodes"])
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
    shipped = json.loads((REPO / "demo" / "api" / f"{name}.json").read_text(encoding="utf-8"))
    assert plain(made) == plain(shipped)
    assert page.complaints == []


def plain(job):
    """What the server would run of a job."""
    return {
        identity: {
            "class_type": node["class_type"],
            # The page's player of a loaded video sends its empty value along.
            "inputs": {name: value for name, value in node["inputs"].items() if name != "video-preview"},
            "title": node["_meta"]["title"],
        }
        for identity, node in job.items()
    }


@pytest.mark.parametrize(
    ("name", "nodes_2"),
    [("00_tiny_demo", False), ("01_tiny_side_by_side", True)],
    ids=["one-node-classic", "side-by-side-nodes2"],
)
def test_a_tiny_template_runs_to_its_end_from_the_run_button(open_page, page_server, shots, name, nodes_2):
    page = open_page(**{"Comfy.VueNodes.Enabled": nodes_2})
    open_template(page, name)
    before = set((page_server.base / "output" / "fastvmt").glob("guided*.mp4"))
    # Another seed than before, or the server has nothing left to do.
    page.do(
        """seed => {
            const samples = window.app.graph._nodes.filter(node => node.title.startsWith('Sample'))
            for (const node of samples) node.widgets.find(widget => widget.name === 'seed').value = seed
        }""",
        1000 + nodes_2,
    )
    page.run()
    page.until("() => document.querySelector('.fastvmt-panel')?.dataset.state === 'done'")
    page.settle()
    page.fit()
    page.shot(shots / "done.png")
    made = set((page_server.base / "output" / "fastvmt").glob("guided*.mp4")) - before
    assert len(made) == 1 and made.pop().stat().st_size > 0
