"""The page of a batch in a browser: sorted, searched, enlarged, with its videos playing."""

import pytest

from tests.tools.batch.test_manifest import Waiting, record
from tools.batch.manifest import Manifest
from tools.batch.page import write_page
from tools.train.clips import make_clip, write_video

page_tools = pytest.importorskip("tools.browser.page")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(page_tools.CHROMIUM is None, reason="there is no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    write_video(out / "clip.mp4", make_clip(0, frames=5).frames)
    with Manifest(out) as manifest:
        for name, fidelity in (("a", 0.2), ("b", 0.9), ("c", 0.5)):
            for folder in (out / "jobs" / name, out / "references"):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "v.mp4").write_bytes((out / "clip.mp4").read_bytes())
            about = {"prompt": f"prompt {name}", "video": "v.mp4", "clip": "v.mp4", "reference": f"{name}.mp4"}
            manifest.append(record(name, **about, fidelity=fidelity, seconds={"all": 1.0}, overrides={"12.cfg": 5}))
        manifest.append({**record("d"), "state": "set aside", "error": "boom", "prompt": "<b>d</b>"})
    path = write_page(out, [Waiting(name) for name in "abcde"])
    with page_tools.chromium() as browser:
        opened = browser.new_page()
        opened.errors = []
        opened.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.goto(path.as_uri())
        yield opened
        assert opened.errors == []


def prompts(page):
    return page.locator("main .prompt").all_inner_texts()


def test_best_first_then_what_has_not_run_then_what_failed(page):
    assert [text.removeprefix("prompt ") for text in prompts(page)[:3]] == ["b", "c", "a"]
    assert prompts(page)[4] == "<b>d</b>" and "boom" in page.locator("main .error").inner_text()
    assert "3 of 5 done, mean fidelity 0.533, 1 set aside" in page.locator("#counts").inner_text()


def test_sorting_searching_and_grouping(page):
    page.select_option("#sort", "fidelity, worst first")
    assert prompts(page)[0] == "prompt a"
    page.fill("#find", "c.mp4")
    assert prompts(page) == ["prompt c"]
    page.fill("#find", "")
    page.select_option("#group", "reference")
    assert page.locator("main h2").first.inner_text().startswith("a.mp4")
    page.select_option("#group", "")


def test_videos_in_sight_play_and_one_can_be_enlarged(page):
    page.wait_for_function("[...document.querySelectorAll('main video')].some((video) => video.videoWidth === 128)")
    page.locator("main .pair").first.click()
    page.wait_for_function("document.querySelectorAll('dialog[open] video').length === 2")
    assert "12.cfg = 5" in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('dialog[open]')")
