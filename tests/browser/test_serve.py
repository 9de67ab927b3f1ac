"""`demo.sh --serve`: the address that it prints opens the page with the demo's workflow."""

import re

from tools.host.layout import REPO, Layout
from tools.host.server import Server


def test_the_printed_address_opens_the_demos_workflow(browser, shots):
    from tools.demo.serve import welcome

    layout = Layout.of()
    with Server(layout=layout) as server:
        address = re.search(r"http://\S+", welcome(server.url)).group()
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(address)
        page.wait_for_function(
            "() => window.app?.graph?._nodes.some(node => node.type === 'FastVMTSampler')", timeout=120_000
        )
        page.wait_for_timeout(1000)
        shots.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(shots / "first_sight.png"))
        # Nothing stands before the workflow.
        assert page.locator("[role=dialog]").count() == 0
        page.context.close()
    assert (REPO / "workflows" / "00_tiny_demo.json").is_file()
