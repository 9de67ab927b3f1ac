"""A job of which the host takes a part and refuses a node of ours: the page says so, and what is wrong."""

from tests.browser.test_panel import short_demo

NODE = "window.app.graph.nodes.find((node) => node.title === '{}')"
TOAST = ".p-toast-message"


def test_what_the_host_refuses_of_a_job_is_shown(open_page, shots):
    page = open_page()
    page.load(short_demo(seed=5000)[0])
    # Nothing here needs the guided video: the reference's own output still runs, and the job counts as a success.
    page.do(f"() => {{ {NODE.format('Prompt')}.widgets[0].value = 'a red fox runs through snow' }}")
    page.do(f"() => {NODE.format('Invert motion')}.disconnectInput(0)")
    page.run()
    toast = page.page.locator(TOAST)
    page.appears(toast)
    page.shot(shots / "refused.png")
    assert toast.count() == 1
    text = toast.inner_text()
    assert "Tiny Wan Prompt (demo): The tiny model does not know 'fox', 'runs'" in text and "colour: red, green" in text
    assert "FastVMT Invert Motion: Required input is missing: model" in text
    # A job that is taken as a whole has nothing to tell.
    page.load(short_demo(seed=5001)[0])
    page.do("() => document.querySelectorAll('.p-toast-close-button').forEach((button) => button.click())")
    page.until("() => !document.querySelector('.p-toast-message')")
    page.run()
    page.until("() => document.querySelector('.fastvmt-panel').dataset.state === 'running'")
    assert toast.count() == 0
