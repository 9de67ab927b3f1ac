"""The page loaded again or closed in the middle of a run, and two pages beside each other."""

import pytest
import requests

from tests.browser.test_panel import points, short_demo, turn

FRESH = "document.querySelector('.fastvmt-fresh').getAttribute('d').split('M').length - 1"
RUNNING = f"() => ({FRESH}) >= 2"
ENDED = "() => document.querySelector('.fastvmt-panel').dataset.state === 'done'"
JOBS = """count => {
    const asked = new XMLHttpRequest()
    asked.open('GET', '/history', false)
    asked.send()
    return Object.keys(JSON.parse(asked.responseText)).length >= count
}"""


def outcomes(page):
    """The status of each job that the server remembers."""
    session = requests.Session()
    session.trust_env = False
    history = session.get(f"{page.url}/history", timeout=None).json()
    return {job: entry["status"]["status_str"] for job, entry in history.items()}


def reload(page):
    """Load the page again. What a fresh page reports of itself is not asked about, as in `open_page`."""
    assert page.complaints == []
    page.reload()
    page.errors.clear()


def test_a_page_that_is_loaded_again_goes_on_showing_its_run(open_page, shots):
    page = open_page()
    page.load(short_demo(seed=4000)[0])
    # Guided for so long that it is not over when the page is there again, however quick the machine.
    turn(page, "steps", 2000)
    turn(page, "end_percent", 1)
    before = outcomes(page)
    page.run()
    page.until(RUNNING)
    settings, seen = page.page.locator(".fastvmt-settings").first.inner_text(), points(page)
    reload(page)
    page.until("() => document.querySelector('.fastvmt-panel')?.dataset.state === 'running'")
    page.look_at("Sample guided", 0.85)
    shown = points(page)
    page.shot(shots / "again.png")
    assert all(now >= then > 0 for now, then in zip(shown, seen, strict=True))
    assert page.page.locator(".fastvmt-settings").first.inner_text() == settings
    # It goes on, and is stopped from here.
    page.until(f"() => ({FRESH}) > {shown[0]}")
    page.do("() => window.app.extensionManager.command.execute('Comfy.Interrupt')")
    page.until("() => document.querySelector('.fastvmt-panel').dataset.state === 'stopped'")
    page.until(JOBS, len(before) + 1)
    # Once it is over, a page that is loaded again shows nothing of it.
    reload(page)
    page.until("() => document.querySelector('.fastvmt-panel') !== null")
    page.settle()
    assert page.do("() => document.querySelector('.fastvmt-panel').dataset.state") == "idle"
    assert page.do("() => sessionStorage.getItem('FastVMT.run')") is None


@pytest.mark.slow
def test_a_run_whose_page_is_closed_ends_well(open_page):
    page = open_page()
    page.load(short_demo(seed=4001)[0])
    # Far from its end when the page is closed.
    turn(page, "steps", 30)
    before = outcomes(page)
    page.run()
    page.until(RUNNING)
    page.page.close()
    other = open_page()
    other.until(JOBS, len(before) + 1)
    ran = outcomes(other).items() - before.items()
    assert [status for _, status in ran] == ["success"]


@pytest.mark.slow
def test_two_pages_show_each_its_own_run(open_page):
    first, second = open_page(), open_page()
    before = outcomes(first)
    for seed, page in enumerate((first, second), 4002):
        page.load(short_demo(seed)[0])
    # The first runs until it is stopped: the second waits meanwhile.
    turn(first, "steps", 2000)
    turn(first, "end_percent", 1)
    first.run()
    second.run()
    first.until(RUNNING)
    assert points(second) == [0, 0]
    first.do("() => window.app.extensionManager.command.execute('Comfy.Interrupt')")
    second.until(RUNNING)
    shown = points(first)
    second.until(ENDED)
    assert first.do("() => document.querySelector('.fastvmt-panel').dataset.state") == "stopped"
    assert points(first) == shown != points(second)
    second.until(JOBS, len(before) + 2)
    ran = outcomes(second).items() - before.items()
    assert sorted(status for _, status in ran) == ["error", "success"]


@pytest.mark.slow
def test_a_workflow_that_is_returned_to_shows_its_last_run(open_page, shots):
    page = open_page()
    page.load(short_demo(seed=4005)[0])
    before = outcomes(page)
    page.run()
    # Until the job is over: what is remembered then is another copy than that of a job that runs.
    page.until(JOBS, len(before) + 1)
    page.until(ENDED)
    shown, status = points(page), page.page.locator(".fastvmt-status").first.inner_text()
    page.do("() => window.app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    page.until("() => !document.querySelector('.fastvmt-panel')")
    page.do("() => [...document.querySelectorAll('.workflow-tabs .p-togglebutton')].at(-2).click()")
    page.until(ENDED)
    page.look_at("Sample guided", 0.85)
    page.shot(shots / "returned.png")
    assert points(page) == shown != [0, 0]
    assert page.page.locator(".fastvmt-status").first.inner_text() == status
