"""What a guided run writes on its node: what it will cost, then the loss, inner step by inner step."""

import struct

import pytest
import torch

from tests.host.runs import noise, run_sampler

GRID = (2, 4, 4)


class Page:
    """Stands where nodes look for the server; packs text as the real one does, and keeps what would be sent."""

    client_id = "page"

    def __init__(self, server):
        self.sent = []
        self.send_progress_text = server.PromptServer.send_progress_text.__get__(self)

    def send_sync(self, event, data, sid=None):
        self.sent.append((event, data, sid))


def unpacked(message):
    """The node and the text of a message, as the page reads it."""
    (length,) = struct.unpack(">I", message[:4])
    return message[4 : 4 + length].decode(), message[4 + length :].decode()


@pytest.fixture
def page(pack, monkeypatch):
    import server

    shown = Page(server)
    monkeypatch.setattr(server.PromptServer, "instance", shown, raising=False)
    return shown


def guided(pack, model, prompt, node_id):
    import comfy.k_diffusion.sampling

    core = pack("fastvmt_core.config")
    flow = core.AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    with torch.inference_mode():
        motion = pack("nodes.host.reading.inversion").invert_motion(
            model, noise(1, GRID), prompt, flow, (3,), (0.3,), 5, "ignore"
        )
    config = core.GuidanceConfig(inner_steps=4, gradient_interval=2, lr_start=0.1, lr_end=0.1, end_percent=0.01)
    patched = pack("nodes.host.sampling.wrapper").apply_motion(model, motion, core.LossWeights(), config, node_id)
    run_sampler(patched, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, GRID), [1.0, 0.9])


def test_cost_and_loss_are_shown_on_the_node(pack, tiny_model, prompt, page):
    import server

    guided(pack, tiny_model, prompt, "7")
    texts = [(unpacked(data), sid) for event, data, sid in page.sent if event == server.BinaryEventTypes.TEXT]
    assert {(node, sid) for (node, _), sid in texts} == {("7", "page")}
    first, *losses = [text for (_, text), _ in texts]
    assert first.startswith("all blocks kept, about ") and " GB beside the model" in first
    # Inner steps 2 and 4 applied the gradient before: nothing was evaluated.
    assert [text.partition(": loss ")[0] for text in losses] == ["step 1, inner step 1", "step 1, inner step 3"]
    assert all(float(text.partition(": loss ")[2]) > 0 for text in losses)


def test_a_node_without_an_id_or_a_page_that_went_away_are_no_error(pack, tiny_model, prompt, page):
    guided(pack, tiny_model, prompt, None)
    # Events of the panel have names, texts on nodes have numbers.
    assert all(isinstance(event, str) for event, _, _ in page.sent)
    page.client_id = None
    page.sent.clear()
    guided(pack, tiny_model, prompt, "7")
    assert page.sent == []
