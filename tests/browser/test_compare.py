"""The page of FastVMT Compare: written by a node in the page, opened from its button, and opened from disk."""

import json
import re
from contextlib import contextmanager

import pytest
import torch

from fastvmt_core.viz.comparison import Shown, comparison_page

SETTLED = "() => typeof videos === 'object' && videos.every((video) => video.readyState >= 2)"
CAPTIONS = "() => [...document.querySelectorAll('figcaption')].map((each) => each.textContent)"
BUTTON = "window.app.graph._nodes.find(n => n.type === 'FastVMTCompare').widgets.find(w => w.name === 'open the page')"
GRAPH = """() => {
    const graph = window.app.graph
    graph.clear()
    const add = (type, x) => {
        const node = window.LiteGraph.createNode(type)
        node.pos = [x, 100]
        graph.add(node)
        return node
    }
    const load = add('LoadVideo', 60), parts = add('GetVideoComponents', 400), compare = add('FastVMTCompare', 640)
    load.widgets.find(w => w.name === 'file').value = 'reference.mp4'
    load.connect(0, parts, 0)
    parts.connect(0, compare, 0)
    parts.connect(0, compare, 1)
}"""
DRAWN_ON = "() => canvases[0].getContext('2d').getImageData(0, 0, 500, 500).data.some((value) => value)"
NOW = "() => videos.map((video) => video.currentTime)"


def on_disk(tmp_path, page_server, **changes):
    """A page on disk with the shipped clip twice."""
    clip = (page_server.base / "input" / "reference.mp4").read_bytes()
    turn = torch.linspace(0, 3, 17)
    tracks = torch.stack([0.5 + 0.3 * turn.cos(), 0.5 + 0.3 * turn.sin()], -1)[:, None]
    given = {"clips": [("reference", clip), ("guided", clip)], "width": 128, "height": 128, "frames": 17, "fps": 16.0}
    given |= {
        "tracks": tracks,
        "figures": [("motion fidelity", "0.97")],
        "losses": [3.0, 2.0, 1.5, 1.4],
        "made": "17 frames",
    }
    path = tmp_path / "page.html"
    path.write_text(comparison_page(Shown(**given | changes)), encoding="utf-8")
    return path.as_uri()


def settled(page, url):
    """The page, once its videos can play; every wait for it ends once nothing moves."""
    from tools.browser.page import ComfyPage

    waiting = ComfyPage(page, url)
    waiting.until(SETTLED)
    return waiting


@pytest.fixture
def opened(context, page_server):
    """Opens an address."""
    pages = []

    def go(address, **listeners):
        page = context.new_page()
        pages.append(page)
        for event, listener in listeners.items():
            page.on(event, listener)
        page.goto(address)
        return settled(page, page_server.url)

    yield go
    for page in pages:
        page.close()


def test_the_page_opens_from_disk_plays_in_sync_and_asks_for_nothing(opened, page_server, shots, tmp_path):
    asked, errors = [], []
    address = on_disk(tmp_path, page_server, graph={"nodes": []})
    page = opened(
        address, request=lambda request: asked.append(request.url), pageerror=lambda error: errors.append(error)
    )
    # The tests' browser asks for little movement: nothing plays by itself.
    assert page.do("() => videos.every((video) => video.paused)")
    page.page.click("#play")
    page.until("() => videos[0].currentTime > 0.2 && !videos[1].paused")
    page.page.click("#play")
    assert page.do("() => videos.every((video) => video.paused)")
    page.do("() => { $('time').value = 0.5; $('time').oninput({ target: $('time') }) }")
    page.until("() => videos.every((video) => !video.seeking)")
    first, second = page.do(NOW)
    assert first == second and 0.4 < first < 0.7
    page.until(DRAWN_ON)
    page.settle()
    page.shot(shots / "page.png")
    page.page.uncheck("#tracks")
    page.until(f"() => !({DRAWN_ON})()")
    assert [url for url in asked if not url.startswith(("file:", "blob:"))] == [] and errors == []


def test_nothing_is_shown_of_what_is_not_there(opened, page_server, tmp_path):
    page = opened(on_disk(tmp_path, page_server, tracks=None, figures=(), losses=()))
    shown = {name: page.page.is_visible(f"#{name}") for name in ("tracksLabel", "figures", "losses", "copy", "play")}
    assert shown == {"tracksLabel": False, "figures": False, "losses": False, "copy": False, "play": True}


@pytest.fixture
def ran(browser, page_server, shots):
    """Opens what the node wrote, from its button: the tab, in a browser that heeds the server's policy or does not."""
    from tools.browser.page import ComfyPage, new_context

    @contextmanager
    def run(bypass_csp, edited=lambda text: text):
        with new_context(browser, bypass_csp=bypass_csp) as context:
            with ComfyPage.open_in(context, page_server.url) as page:
                page.do(GRAPH)
                assert page.do(f"() => {BUTTON}.disabled")
                page.run()
                page.until(f"() => !{BUTTON}.disabled")
                page.settle()
                page.shot(shots / "node.png")
                written = max((page_server.base / "output" / "fastvmt").glob("compare_*.html"))
                written.write_text(edited(written.read_text(encoding="utf-8")), encoding="utf-8")
                with context.expect_page() as new:
                    page.do(f"() => {{ {BUTTON}.callback() }}")
                ComfyPage(new.value, page_server.url).until("() => document.querySelector('iframe')")
                # What the file shows is in a frame; a frame is driven as a page is.
                yield ComfyPage(new.value.frames[1], page_server.url)

    return run


def test_the_button_opens_what_the_node_wrote(ran, shots):
    from tools.browser.page import ComfyPage

    with ran(bypass_csp=True) as tab:
        tab.until(SETTLED)
        ComfyPage(tab.page.page, tab.url).shot(shots / "tab.png")
        assert tab.page.page.title().startswith("compare_") and tab.do(CAPTIONS) == ["reference", "guided"]
        graph = json.loads(tab.do("() => JSON.stringify(data.graph)"))
        assert {node["type"] for node in graph["nodes"]} == {"LoadVideo", "GetVideoComponents", "FastVMTCompare"}
        # Trusted, as a person's click is: a page that may copy asks for one.
        tab.page.click("#copy")
        tab.until("() => $('copy').textContent.startsWith('Copied')")


REACHES = """async (url) => {
    const tried = {
        server: () => fetch(`${url}/queue`),
        'server, unseen': () => fetch(`${url}/interrupt`, { method: 'POST', mode: 'no-cors' }),
        page: () => window.top.document.title,
        opener: () => window.top.opener.app.graph,
        storage: () => localStorage.length,
    }
    const done = []
    for (const [name, attempt] of Object.entries(tried)) {
        try {
            await attempt()
            done.push(name)
        } catch {}
    }
    return done
}"""


def test_a_script_in_the_page_reaches_neither_the_server_nor_the_hosts_page(ran, page_server):
    with ran(bypass_csp=False) as tab:
        asked = []
        tab.page.page.on("requestfinished", lambda request: asked.append(request.url))
        assert tab.do("() => window.origin") == "null"
        assert tab.do(REACHES, page_server.url) == [] and asked == []


def test_a_file_without_its_own_policy_does_not_act_as_the_hosts_page(ran, page_server):
    def edited(text):
        text, policies = re.subn(r'<meta http-equiv="Content-Security-Policy".*?>', "", text)
        assert policies == 1
        return text

    # Where the server has no policy, the tab's own is the frame's too.
    with ran(bypass_csp=False, edited=edited) as tab:
        assert "default-src 'none'" in tab.page.page.evaluate(
            "() => document.querySelector('meta[http-equiv]').content"
        )
        assert tab.do(REACHES, page_server.url) == []


def test_a_tab_that_may_not_play_says_so(ran):
    """ComfyUI's --disable-api-nodes, with which the tests' server runs, lets its pages play files of its own alone."""
    with ran(bypass_csp=False) as tab:
        tab.until(f"() => typeof videos === 'object' && ({CAPTIONS})().every((text) => text.includes('--disable-api'))")
