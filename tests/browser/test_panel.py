"""The live panel while a job runs, and the curve that is drawn by hand."""

import json

import pytest

from tools.host.layout import REPO

CANVASES = {"classic": False, "nodes2": True}
VARIANTS = [
    # The light theme changes colours alone.
    pytest.param(nodes_2, theme, id=f"{canvas}-{theme}", marks=[pytest.mark.slow] if theme == "light" else [])
    for canvas, nodes_2 in CANVASES.items()
    for theme in ("dark", "light")
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
    """How many gradients the chart shows, asked for and reused."""
    count = "document.querySelector('.fastvmt-{}').getAttribute('d').split('M').length - 1"
    return page.do(f"() => [{count.format('asked')}, {count.format('reused')}]")


@pytest.mark.parametrize(("nodes_2", "theme"), VARIANTS)
def test_the_panel_grows_during_a_run(open_page, shots, nodes_2, theme):
    page = open_page(**settings_of(nodes_2, theme))
    workflow, sampler = short_demo(seed=2000 + 2 * nodes_2 + (theme == "light"))
    page.load(workflow)
    page.look_at("Sample guided", 0.85)
    assert points(page) == [0, 0]
    page.shot(shots / "idle.png")
    # Noted in the page itself: from here, a quick run could be over between two looks.
    page.do(
        """() => {
            const asked = document.querySelector('.fastvmt-asked')
            window.grown = []
            new MutationObserver(() => window.grown.push(asked.getAttribute('d').split('M').length - 1))
                .observe(asked, { attributes: true, attributeFilter: ['d'] })
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
    # Each of the 3 guided steps takes 5 gradients, and is reported by itself at least.
    assert grown == sorted(grown) and len(set(grown) - {0}) >= 3
    widgets = {name: sampler["widgets_values"][at] for name, at in (("inner", 7), ("interval", 10))}
    asked, reused = points(page)
    steps = int(page.do("() => document.querySelectorAll('.fastvmt-panel .fastvmt-chart g')[0].children.length"))
    # 15 inner steps, a gradient at every third: fresh and reused ones are kept apart.
    assert asked == steps * -(-widgets["inner"] // widgets["interval"])
    assert asked + reused == steps * widgets["inner"]
    for kind in ("reference", "latent"):
        assert page.do(f"() => document.querySelector('.fastvmt-arrows.fastvmt-{kind}').getAttribute('d').length") > 100
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
    page.until("() => document.querySelector('.fastvmt-asked').getAttribute('d').length > 0")
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


def curve(page):
    """The curve that a job of this graph would get."""
    job = page.do("async () => (await window.app.graphToPrompt()).output")
    return next(node["inputs"]["curve"] for node in job.values() if node["class_type"] == "FastVMTLossWeights")


@pytest.mark.parametrize("nodes_2", CANVASES.values(), ids=CANVASES)
def test_a_preset_puts_its_values_into_the_widgets_that_it_replaces(open_page, shots, nodes_2):
    page = open_page(**settings_of(nodes_2, "dark"))
    page.load(demo())
    turn(page, "preset", "paper")
    # FastVMT's section 4, not what the demo's graph has.
    paper = {"inner_steps": 10, "lr_start": 0.003, "lr_end": 0.002, "gradient_interval": 3, "end_percent": 0.2}
    assert values(page, paper) == paper != demo_values(paper)
    page.look_at("Sample guided")
    page.shot(shots / "preset.png")
    # Whoever turns one of them goes on from there.
    turn(page, "inner_steps", 12)
    mine = {**paper, "inner_steps": 12, "preset": "custom"}
    assert values(page, mine) == mine
    # And what a preset stands for is also shown where a workflow says something else.
    saved = page.do("async () => (await window.app.graphToPrompt()).workflow")
    sampler = next(node for node in saved["nodes"] if node["title"] == "Sample guided")
    assert sampler["widgets_values"][-1] == "custom"
    sampler["widgets_values"][-1] = "paper"
    page.load(saved)
    assert values(page, paper) == paper


def turn(page, name, value):
    page.do(
        f"""([name, value]) => {{
            const widget = {SAMPLER}.widgets.find((widget) => widget.name === name)
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
