"""ComfyUI with the demo's workflow, kept open for a person at the page."""

from __future__ import annotations

import requests

from tools.host.layout import Layout
from tools.host.server import Server

WORKFLOW = "00_tiny_demo"


def serve(layout: Layout) -> int:
    """0 once ComfyUI, whose address is printed, has ended by itself.

    Its folders are those of .host/base, so that workflows and videos persist to the next time.

    Raises:
        ServerError: it did not start, or failed.
    """
    with Server(layout=layout, base=layout.base) as server:
        print(welcome(server.url), flush=True)
        print(f"fastvmt: videos are kept in {layout.base / 'output' / 'fastvmt'}, the log in {server.log}", flush=True)
        server.wait()
    return 0


def welcome(url: str) -> str:
    """The lines that name the address; the page is set not to open with a tour that would cover the workflow."""
    with requests.Session() as session:
        # A proxy for the outside, set in the environment, knows nothing of this machine's loopback.
        session.trust_env = False
        session.post(f"{url}/api/settings", json={"Comfy.TutorialCompleted": True}, timeout=30).raise_for_status()
    return (
        f"fastvmt: open {url}/?template={WORKFLOW}&source=fastvmt\nfastvmt: then press Run; Ctrl-C here stops ComfyUI"
    )
