"""The drawing on Draw Motion: what is drawn with the mouse or the keys arrives at the server, and stays."""

import json
import math

import pytest

from tests.browser.canvases import CANVASES

SIZE = (832, 480)
PIXEL = 1.0


def fresh(open_page, nodes_2):
    """A page with a single node."""
    page = open_page(**{"Comfy.VueNodes.Enabled": nodes_2})
    page.do(
        """() => {
            window.app.graph.clear()
            const node = window.LiteGraph.createNode('FastVMTDrawMotion')
            node.pos = [100, 100]
            node.setSize([460, Math.max(640, node.computeSize()[1])])
            window.app.graph.add(node)
            node.title = 'Draw'
        }"""
    )
    page.settle()
    page.look_at("Draw")
    return page


def sent(page):
    """The drawing in a job of this graph."""
    job = page.do("async () => (await window.app.graphToPrompt()).output")
    text = next(node["inputs"]["drawing"] for node in job.values() if node["class_type"] == "FastVMTDrawMotion")
    return json.loads(text) if text else None


def screen(page, x, y):
    """Where a place of the frame, pixels, is on the screen."""
    box = page.page.locator(".fastvmt-stage").first.bounding_box()
    scale = min(box["width"] / SIZE[0], box["height"] / SIZE[1])
    left = box["x"] + (box["width"] - SIZE[0] * scale) / 2
    top = box["y"] + (box["height"] - SIZE[1] * scale) / 2
    return left + x * scale, top + y * scale


def drag(page, points):
    mouse = page.page.mouse
    mouse.move(*screen(page, *points[0]))
    mouse.down()
    for point in points[1:]:
        mouse.move(*screen(page, *point))
    mouse.up()
    page.settle()


def button(page, name):
    page.click(page.page.locator(".fastvmt-draw").get_by_role("button", name=name))
    page.settle()


def test_a_first_drag_draws_an_object_with_that_path_and_one_undo_takes_it_back(open_page):
    page = fresh(open_page, False)
    page.page.mouse.click(*screen(page, 300, 200))
    assert sent(page) is None
    drag(page, [(200, 120), (400, 300), (600, 360)])
    (drawn,) = sent(page)["objects"]
    assert drawn["path"][0] == pytest.approx(drawn["ellipse"][:2], abs=1e-3)
    path = [(x * SIZE[0], y * SIZE[1]) for x, y in drawn["path"]]
    assert math.dist(path[0], (200, 120)) <= PIXEL and math.dist(path[-1], (600, 360)) <= PIXEL
    button(page, "Undo")
    assert sent(page) is None


def pixels(points):
    return [(x * SIZE[0], y * SIZE[1]) for x, y in points]


def from_line(point, line):
    """Distance of a point from a polyline."""
    return min(_from_part(point, *part) for part in zip(line[:-1], line[1:], strict=True))


def _from_part(point, one, other):
    along = (other[0] - one[0], other[1] - one[1])
    length = along[0] ** 2 + along[1] ** 2 or 1
    part = ((point[0] - one[0]) * along[0] + (point[1] - one[1]) * along[1]) / length
    part = min(1, max(0, part))
    return math.hypot(point[0] - one[0] - part * along[0], point[1] - one[1] - part * along[1])


ARC = [(260 - 120 * math.cos(math.pi * at / 20), 300 - 180 * math.sin(math.pi * at / 20)) for at in range(21)]


@pytest.mark.parametrize("nodes_2", CANVASES)
def test_a_path_drawn_by_mouse_arrives_as_drawn_and_stays(open_page, shots, nodes_2):
    page = fresh(open_page, nodes_2)
    assert sent(page) is None
    page.shot(shots / "empty.png")
    button(page, "Add an ellipse")
    straight = sent(page)
    assert len(straight["objects"]) == 1 and len(straight["objects"][0]["path"]) == 2
    drag(page, ARC)
    page.shot(shots / "drawn.png")
    drawing = sent(page)
    path = pixels(drawing["objects"][0]["path"])
    assert max(from_line(point, path) for point in ARC) < PIXEL
    assert max(from_line(point, ARC) for point in path) < PIXEL
    assert math.dist(path[0], ARC[0]) < PIXEL and math.dist(path[-1], ARC[-1]) < PIXEL
    # The shape is where its path begins.
    assert math.dist(pixels([drawing["objects"][0]["ellipse"][:2]])[0], ARC[0]) < PIXEL
    # The server takes it.
    assert (
        page.do(
            """async () => {
            const made = await window.app.graphToPrompt()
            const node = Object.keys(made.output)[0]
            made.output.keep = { class_type: 'PreviewAny', inputs: { source: [node, 4] } }
            const body = JSON.stringify({ prompt: made.output })
            const headers = { 'Content-Type': 'application/json' }
            return (await fetch('/prompt', { method: 'POST', headers, body })).status
        }"""
        )
        == 200
    )
    # Undone, one by one, to nothing.
    button(page, "Undo")
    assert sent(page) == straight
    button(page, "Undo")
    assert sent(page) is None
    # Kept by copy and paste, and by a saved workflow.
    drag_again(page, drawing)
    copied = page.do(
        """() => {
            const [node] = window.app.graph._nodes
            window.app.canvas.selectNode(node)
            window.app.canvas.copyToClipboard()
            window.app.canvas.pasteFromClipboard()
            return window.app.graph._nodes.map((each) => each.widgets.find((w) => w.name === 'drawing').value)
        }"""
    )
    assert len(copied) == 2 and [json.loads(each) for each in copied] == [drawing, drawing]
    page.do("() => window.app.graph.remove(window.app.graph._nodes[1])")
    saved = page.do("async () => (await window.app.graphToPrompt()).workflow")
    assert page.complaints == []
    page.reload()
    # What a fresh page reports of itself.
    page.errors.clear()
    page.load(saved)
    assert sent(page) == drawing
    assert page.page.locator(".fastvmt-stage [data-object='0']").first.is_visible()


def drag_again(page, drawing):
    """The drawing as a script sets it."""
    page.do(
        """text => {
            const widget = window.app.graph._nodes[0].widgets.find((each) => each.name === 'drawing')
            widget.value = text
        }""",
        json.dumps(drawing),
    )
    page.settle()


@pytest.mark.parametrize("nodes_2", CANVASES)
def test_shapes_camera_and_points_by_mouse(open_page, shots, nodes_2):
    page = fresh(open_page, nodes_2)
    button(page, "Draw an outline")
    outline = [(500, 100), (700, 120), (720, 260), (560, 300), (490, 200)]
    drag(page, outline)
    drawing = sent(page)
    assert max(from_line(point, pixels(drawing["objects"][0]["lasso"])) for point in outline) < PIXEL
    button(page, "Add an ellipse")
    ellipse = sent(page)["objects"][1]["ellipse"]
    # By its middle it is moved, its path with it.
    middle = (ellipse[0] * SIZE[0], ellipse[1] * SIZE[1])
    drag(page, [middle, (middle[0] + 60, middle[1] + 90)])
    moved = sent(page)["objects"][1]
    assert pixels([moved["ellipse"][:2]])[0] == pytest.approx((middle[0] + 60, middle[1] + 90), abs=PIXEL)
    assert pixels(moved["path"])[0] == pytest.approx(pixels([moved["ellipse"][:2]])[0], abs=PIXEL)
    # A point of the path.
    end = pixels(moved["path"])[-1]
    drag(page, [end, (end[0] - 50, end[1] + 40)])
    assert pixels(sent(page)["objects"][1]["path"])[-1] == pytest.approx((end[0] - 50, end[1] + 40), abs=PIXEL)
    page.click(page.page.locator(".fastvmt-draw").get_by_role("radio", name="Camera"))
    drag(page, [(416, 240), (460, 230), (520, 200)])
    zoom = page.page.locator(".fastvmt-numbers").get_by_label("zoom")
    zoom.fill("1.4")
    zoom.press("Enter")
    zoom.blur()
    page.settle()
    page.shot(shots / "camera.png")
    camera = sent(page)["camera"]
    assert pixels(camera["path"])[-1] == pytest.approx((520, 200), abs=PIXEL) and camera["scale"] == 1.4
    button(page, "Play")
    page.until("() => document.querySelector('.fastvmt-stage').dataset.state === 'playing'")
    page.shot(shots / "playing.png")
    page.click(page.page.locator(".fastvmt-draw").get_by_role("radio", name="1", exact=True))
    button(page, "Delete what is chosen")
    assert [list(each)[0] for each in sent(page)["objects"]] == ["ellipse"]


def test_the_keys_alone_draw(open_page):
    page = fresh(open_page, False)
    page.page.locator(".fastvmt-draw").get_by_role("button", name="Add an ellipse").focus()
    keyboard = page.page.keyboard
    keyboard.press("Enter")
    page.settle()
    before = pixels(sent(page)["objects"][0]["path"])
    # The stage has the focus now: the last point goes 10 pixels down and 2 to the left.
    for key in ("Shift+ArrowDown", "ArrowLeft", "ArrowLeft"):
        keyboard.press(key)
    after = pixels(sent(page)["objects"][0]["path"])
    assert after[0] == pytest.approx(before[0], abs=0.01)
    assert after[1] == pytest.approx((before[1][0] - 2, before[1][1] + 10), abs=0.05)
    keyboard.press("Enter")
    assert len(sent(page)["objects"][0]["path"]) == 3
    page.page.locator(".fastvmt-draw").get_by_role("button", name="Undo").focus()
    keyboard.press("Enter")
    page.settle()
    assert len(sent(page)["objects"][0]["path"]) == 2
    page.page.locator(".fastvmt-stage").focus()
    keyboard.press("Delete")
    assert sent(page) is None
    assert page.do("() => window.app.graph._nodes.length") == 1


def test_a_text_that_is_no_drawing_is_kept_for_the_server(open_page):
    page = fresh(open_page, False)
    page.do("() => { window.app.graph._nodes[0].widgets.find((w) => w.name === 'drawing').value = '{broken' }")
    job = page.do("async () => (await window.app.graphToPrompt()).output")
    assert next(iter(job.values()))["inputs"]["drawing"] == "{broken"
    assert "no drawing" in page.page.locator(".fastvmt-draw .fastvmt-hint").inner_text()
