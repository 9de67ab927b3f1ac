"""`demo.sh --serve`: the address that it prints opens the page with the demo's workflow."""

import re

import pytest

from tools.host.layout import REPO, Layout
from tools.host.server import Server


@pytest.mark.slow
def test_the_printed_address_opens_the_demos_workflow(browser, shots):
    from tools.browser.page import ComfyPage
    from tools.demo.serve import welcome

    layout = Layout.of()
    with Server(layout=layout) as server:
        address = re.search(r"http://\S+", welcome(server.url)).group()
        # A person's own context, without the settings that the other tests make.
        tab = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page = ComfyPage(tab, server.url)
        page.go(address)
        page.until("() => window.app?.graph?._nodes.some(node => node.type === 'FastVMTSampler')")
        page.idle()
        page.settle()
        page.shot(shots / "first_sight.png")
        # Nothing stands before the workflow.
        assert tab.locator("[role=dialog]").count() == 0
        tab.context.close()
    assert (REPO / "workflows" / "00_tiny_demo.json").is_file()
