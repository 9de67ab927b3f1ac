"""The live panel while a job runs, and the curve that is drawn by hand."""

import json

import pytest

from tests.browser.canvases import CANVASES
from tools.host.layout import REPO

VARIANTS = [
    pytest.param(True, "dark", id="nodes2-dark"),
    # The light theme changes colours alone.
    pytest.param(True, "light", id="nodes2-light", marks=pytest.mark.slow),
    pytest.param(False, "dark", id="classic-dark", marks=pytest.mark.slow),
    pytest.param(False, "light", id="classic-light", marks=pytest.mark.slow),
]

SAMPLER = "window.app.graph.nodes.find((node) => node.title === 'Sample guided')"


def demo():
    return json.loads((REPO / "workflows" / "00_tiny_demo.json").read_text(encoding="utf-8"))


def short_demo(seed):
    """The demo in 12 steps, 3 of them guided, with a seed that makes the server run it; and its sampler."""
    workflow = demo()
    sampler = next(node for node in workflow["nodes"] if node["title"] == "Sample guided")
    assert sampler["widgets_values"][1:3] == ["fixed", 25]
    sampler["widgets_values"][0], sampler["widgets_values"][2] = seed, 12
    return workflow, sampler


def settings_of(nodes_2, theme):
    return {"Comfy.VueNodes.Enabled": nodes_2, "Comfy.ColorPalette": theme}


def points(page):
    """How many gradients the chart shows, fresh and reused."""
    count = "document.querySelector('.fastvmt-{}').getAttribute('d').split('M').length - 1"
    return page.do(f"() => [{count.format('fresh')}, {count.format('reused')}]")


@pytest.mark.parametrize(("nodes_2", "theme"), VARIANTS)
def test_the_panel_grows_during_a_run(open_page, shots, nodes_2, theme):
    page = open_page(**settings_of(nodes_2, theme))
    workflow, sampler = short_demo(seed=2000 + 2 * nodes_2 + (theme == "light"))
    page.load(workflow)
    page.look_at("Sample guided", 0.85)
    assert points(page) == [0, 0]
    page.shot(shots / "idle.png")
    # Noted in the page itself: from here, a quick run could be over between two questions.
    page.do(
        """() => {
            const fresh = document.querySelector('.fastvmt-fresh')
            window.grown = []
            new MutationObserver(() => window.grown.push(fresh.getAttribute('d').split('M').length - 1))
                .observe(fresh, { attributes: true, attributeFilter: ['d'] })
            window.ended = []
            const panel = document.querySelector('.fastvmt-panel')
            new MutationObserver(() => window.ended.push(panel.dataset.state))
                .observe(panel, { attributes: true, attributeFilter: ['data-state'] })
            app.api.addEventListener('execution_success', () => window.ended.push('job'))
        }"""
    )
    page.run()
    page.until("() => window.grown.at(-1) >= 3")
    page.shot(shots / "running.png")
    page.until("() => document.querySelector('.fastvmt-panel').dataset.state === 'done'")
    page.settle()
    page.shot(shots / "done.png")
    # Decoding and saving are not the panel's: its run is over before the job is.
    page.until("() => window.ended.includes('job')")
    ended = page.do("() => window.ended")
    assert ended.index("done") < ended.index("job"), ended
    grown = page.do("() => window.grown")
    # Each of the 3 guided steps takes 5 gradients, and is sent by itself at least.
    assert grown == sorted(grown) and len(set(grown) - {0}) >= 3
    widgets = {name: sampler["widgets_values"][at] for name, at in (("inner", 9), ("interval", 12))}
    fresh, reused = points(page)
    steps = int(page.do("() => document.querySelectorAll('.fastvmt-panel .fastvmt-chart g')[0].children.length"))
    # 15 inner steps, a gradient at every third: fresh and reused ones are shown apart.
    assert fresh == steps * -(-widgets["inner"] // widgets["interval"])
    assert fresh + reused == steps * widgets["inner"]
    for kind in ("reference", "latent"):
        assert page.do(f"() => document.querySelector('.fastvmt-arrows.fastvmt-{kind}').getAttribute('d').length") > 100
    # Which numbers ran is named for the whole run.
    settings = page.page.locator(".fastvmt-settings").first.inner_text()
    assert settings.startswith("preset custom: 6 inner steps, learning rate 0.05 to 0.033"), settings
    # Seen whole: nothing of the panel lies outside its node.
    assert inside(page, ".fastvmt-panel", "Sample guided")


def inside(page, selector, title):
    box = page.page.locator(selector).first.bounding_box()
    node = page.bounds_of(title)
    edge = 3
    return (
        box["x"] >= node[0] - edge
        and box["y"] >= node[1] - edge
        and box["x"] + box["width"] <= node[0] + node[2] + edge
        and box["y"] + box["height"] <= node[1] + node[3] + edge
    )


def test_a_cancelled_run_says_so(open_page):
    page = open_page()
    page.load(short_demo(seed=3000)[0])
    page.run()
    page.until("() => document.querySelector('.fastvmt-fresh').getAttribute('d').length > 0")
    page.do("() => window.app.extensionManager.command.execute('Comfy.Interrupt')")
    page.until("() => document.querySelector('.fastvmt-panel').dataset.state === 'stopped'")


def test_the_panel_is_neither_saved_nor_sent(open_page):
    page = open_page()
    page.load(demo())
    workflow, job = page.do(
        "async () => { const made = await window.app.graphToPrompt(); return [made.workflow, made.output] }"
    )
    node = next(node for node in workflow["nodes"] if node["title"] == "Sample guided")
    shipped = next(node for node in demo()["nodes"] if node["title"] == "Sample guided")
    assert node["widgets_values"] == shipped["widgets_values"]
    assert not any(name.startswith("fastvmt_") for name in job[str(node["id"])]["inputs"])


@pytest.mark.parametrize(("nodes_2", "theme"), VARIANTS)
def test_a_dragged_curve_reaches_the_job_and_the_saved_workflow(open_page, shots, nodes_2, theme):
    page = open_page(**settings_of(nodes_2, theme))
    page.load(demo())
    page.look_at("Loss weights")
    assert curve(page) == ""
    mouse, box = page.page.mouse, page.page.locator(".fastvmt-plot").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse.dblclick(*middle)
    assert [len(point) for point in json.loads(curve(page))] == [2, 2, 2]
    handle = page.page.locator(".fastvmt-handles circle").nth(1).bounding_box()
    start = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    mouse.move(*start)
    mouse.down()
    mouse.move(start[0] + 10, start[1] - 10)
    mouse.move(start[0] + 40, start[1] - 25, steps=3)
    mouse.up()
    page.settle()
    page.shot(shots / "dragged.png")
    before, dragged, after = json.loads(curve(page))
    assert before == [0, 1] and after == [1, 1]
    assert 0.55 < dragged[0] < 0.75 and 1.1 < dragged[1] <= 2
    # The node did not move with it, and the value comes back from the saved workflow.
    saved = page.do("async () => (await window.app.graphToPrompt()).workflow")
    page.load(saved)
    assert json.loads(curve(page)) == [before, dragged, after]
    page.look_at("Loss weights")
    page.click(page.page.locator(".fastvmt-reset"))
    assert curve(page) == ""


def test_what_watches_the_size_of_a_node_ends_with_it(open_page):
    page = open_page()
    page.load(demo())
    ended = page.do(
        """() => {
            let ended = 0
            const { disconnect } = ResizeObserver.prototype
            ResizeObserver.prototype.disconnect = function () {
                ended++
                return disconnect.call(this)
            }
            const counts = ['Loss weights', 'Sample guided'].map((title) => {
                ended = 0
                window.app.graph.remove(window.app.graph.nodes.find((node) => node.title === title))
                return ended
            })
            ResizeObserver.prototype.disconnect = disconnect
            return counts
        }"""
    )
    # The curve, and the chart of the loss.
    assert ended == [1, 1]


def curve(page):
    """The curve in a job of this graph."""
    job = page.do("async () => (await window.app.graphToPrompt()).output")
    return next(node["inputs"]["curve"] for node in job.values() if node["class_type"] == "FastVMTLossWeights")


@pytest.mark.parametrize("nodes_2", CANVASES)
def test_a_preset_puts_its_values_into_the_widgets_that_it_sets(open_page, shots, nodes_2):
    page = open_page(**settings_of(nodes_2, "dark"))
    page.load(demo())
    assert greyed(page) == []
    turn(page, "preset", "paper")
    assert values(page, PAPER) == PAPER != demo_values(PAPER)
    assert greyed(page) == list(PAPER)
    assert drawn(page, "optimizer") == PAPER["optimizer"]
    page.look_at("Sample guided")
    page.shot(shots / "preset.png")
    # The numbers go on from there as one's own.
    turn(page, "preset", "custom")
    assert values(page, PAPER) == PAPER and greyed(page) == []
    # A script or the outside of a subgraph can change one all the same: then it counts.
    turn(page, "preset", "paper")
    turn(page, "inner_steps", 12)
    mine = {**PAPER, "inner_steps": 12, "preset": "custom"}
    assert values(page, mine) == mine and greyed(page) == []
    # And the values of a preset are also shown when a workflow holds others.
    saved = page.do("async () => (await window.app.graphToPrompt()).workflow")
    sampler = next(node for node in saved["nodes"] if node["title"] == "Sample guided")
    assert sampler["widgets_values"][PRESET] == "custom"
    sampler["widgets_values"][PRESET] = "paper"
    page.load(saved)
    assert values(page, PAPER) == PAPER and greyed(page) == list(PAPER)


@pytest.mark.parametrize("nodes_2", CANVASES)
def test_a_preset_and_a_curve_on_the_outside_of_a_subgraph(open_page, shots, nodes_2):
    page = open_page(**settings_of(nodes_2, "dark"))
    page.load(demo())
    page.do(
        """() => {
            const titles = ['Sample guided', 'Loss weights']
            const inside = app.graph.nodes.filter((each) => titles.includes(each.title))
            const { node } = app.graph.convertToSubgraph(new Set(inside))
            node.title = 'Outside'
            const id = (title) => String(node.subgraph.nodes.find((n) => n.title === title).id)
            const shown = [['Sample guided', 'preset'], ['Sample guided', 'inner_steps'], ['Loss weights', 'curve']]
            node.properties.proxyWidgets = shown.map(([title, name]) => [id(title), name])
            node.setSize([340, node.computeSize()[1]])
        }"""
    )
    page.load(page.do("async () => (await window.app.graphToPrompt()).workflow"))
    page.look_at("Outside")
    assert page.page.locator(".fastvmt-curve .fastvmt-line").count() == 1
    assert inside(page, ".fastvmt-curve", "Outside")
    turn(page, "preset", "paper", OUTSIDE)
    assert outside(page) == {"preset": "paper", "inner_steps": 10} == job_of(page)
    page.shot(shots / "paper.png")
    # What is changed outside is what runs.
    turn(page, "inner_steps", 12, OUTSIDE)
    assert outside(page) == {"preset": "custom", "inner_steps": 12} == job_of(page)
    page.shot(shots / "custom.png")


def test_a_linked_preset_is_left_to_the_server(open_page):
    page = open_page()
    page.load(demo())
    before = demo_values(PAPER)
    page.do(
        f"""() => {{
            const node = window.LiteGraph.createNode('PrimitiveNode')
            window.app.graph.add(node)
            const sampler = {SAMPLER}
            node.connect(0, sampler, sampler.inputs.findIndex((slot) => slot.name === 'preset'))
        }}"""
    )
    turn(page, "preset", "paper")
    # Which preset runs is not known here: nothing is greyed or set, and the numbers are sent as they are.
    assert greyed(page) == [] and values(page, PAPER) == before


PAPER = {
    **{"inner_steps": 10, "lr_start": 0.003, "lr_end": 0.002, "gradient_interval": 3, "end_percent": 0.2},
    **{"optimizer": "adamw", "every": 1},
}
"""FastVMT's section 4, not what the demo's graph has."""
PRESET = 7
"""Place of the preset among the sampler's saved values."""
OUTSIDE = "window.app.graph.nodes.find((node) => node.title === 'Outside')"


def greyed(page):
    """Names of the sampler's widgets that cannot be changed."""
    return page.do(f"() => {SAMPLER}.widgets.filter((widget) => widget.disabled).map((widget) => widget.name)")


def drawn(page, name):
    """The text that the canvas draws as the value of the sampler's widget."""
    return page.do(f"name => {SAMPLER}.widgets.find((widget) => widget.name === name)._displayValue", name)


def outside(page):
    """Preset and inner steps as the subgraph's node has them."""
    shown = page.do(f"() => {OUTSIDE}.widgets.map((widget) => [widget.name, widget.value])")
    return {name.split(": ")[-1]: value for name, value in shown if not name.endswith("curve")}


def job_of(page):
    """The same as the server would get them."""
    job = page.do("async () => (await window.app.graphToPrompt()).output")
    inputs = next(node["inputs"] for node in job.values() if node["class_type"] == "FastVMTSampler")
    return {name: inputs[name] for name in ("preset", "inner_steps")}


def turn(page, name, value, node=SAMPLER):
    """Change a widget as the page does."""
    page.do(
        f"""([name, value]) => {{
            const widget = {node}.widgets.find((widget) => widget.name.split(': ').at(-1) === name)
            widget.value = value
            widget.callback(value)
        }}""",
        [name, value],
    )


def values(page, names):
    """The sampler's widgets of these names."""
    shown = page.do(f"() => {SAMPLER}.widgets.map((widget) => [widget.name, widget.value])")
    return {name: value for name, value in shown if name in names}


def demo_values(names):
    """The same in the workflow that comes along."""
    job = json.loads((REPO / "assets" / "api" / "00_tiny_demo.json").read_text(encoding="utf-8"))
    inputs = next(node["inputs"] for node in job.values() if node["class_type"] == "FastVMTSampler")
    return {name: inputs[name] for name in names}
