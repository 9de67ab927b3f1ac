"""ComfyUI left open with the demo's workflow: for a person at the page."""

from __future__ import annotations

import requests

from tools.host.layout import Layout
from tools.host.server import Server

WORKFLOW = "00_tiny_demo"


def serve(layout: Layout) -> int:
    """Start ComfyUI, say where it is, and wait until it ends; 0 when it ended by itself.

    Its folders are those of .host/base, so that workflows and videos are there the next time.

    Raises:
        ServerError: it did not start, or failed.
    """
    with Server(layout=layout, base=layout.base) as server:
        print(welcome(server.url), flush=True)
        server.wait()
    return 0


def welcome(url: str) -> str:
    """What to open, once the page has been told not to greet with a tour that would cover the workflow."""
    with requests.Session() as session:
        # A proxy for the outside, set in the environment, knows nothing of this machine's loopback.
        session.trust_env = False
        session.post(f"{url}/api/settings", json={"Comfy.TutorialCompleted": True}, timeout=30).raise_for_status()
    return (
        f"fastvmt: open {url}/?template={WORKFLOW}&source=fastvmt\nfastvmt: then press Run; Ctrl-C here stops ComfyUI"
    )
