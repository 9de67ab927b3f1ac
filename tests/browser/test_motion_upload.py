"""A motion file is uploaded from the page, and the node that got it runs."""

from tests.core.motion.made_files import everything


def test_a_motion_is_uploaded_and_chosen(open_page, tmp_path):
    everything().save(tmp_path / "stranger.safetensors")
    page = open_page()
    page.do(
        """() => {
            window.app.graph.clear()
            const node = window.LiteGraph.createNode('FastVMTLoadMotion')
            window.app.graph.add(node)
        }"""
    )
    assert "upload a motion" in page.do("() => window.app.graph._nodes[0].widgets.map(w => w.name)")
    with page.page.expect_file_chooser() as chosen:
        page.do("() => { window.app.graph._nodes[0].widgets.find(w => w.name === 'upload a motion').callback() }")
    chosen.value.set_files(str(tmp_path / "stranger.safetensors"))
    page.until("() => window.app.graph._nodes[0].widgets[0].value === 'stranger.safetensors'")
    listed = page.do("async () => (await (await fetch('/object_info/FastVMTLoadMotion')).json())")
    assert "stranger.safetensors" in str(listed["FastVMTLoadMotion"]["input"]["required"]["motion"])
