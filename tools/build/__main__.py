"""Make what is generated: ``python -m tools.build {workflows,locales,pictures,motion}``, of a live server."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from tools.build import locales, pictures, shipped_motion, workflows
from tools.host.client import Client
from tools.host.server import Server

OF_NODES = {"workflows": workflows.make, "locales": locales.make}
"""Made of the server's description of its nodes."""


def main(arguments: list[str] | None = None) -> int:
    """Run one of the makers; 0 on success."""
    parser = argparse.ArgumentParser(prog="python -m tools.build", description=__doc__.partition(":")[0])
    parser.add_argument("what", choices=(*OF_NODES, "pictures", "motion"))
    parser.add_argument("--url", help="a server that runs already; without one, one is started. Not for motion")
    parser.add_argument("--only", choices=pictures.PARTS, help="one kind of the pictures")
    options = parser.parse_args(arguments)
    if options.what == "motion":
        shipped_motion.make()
        return 0
    with ExitStack() as stack:
        url = options.url or stack.enter_context(Server()).url
        if options.what == "pictures":
            pictures.make(url, options.only)
        else:
            OF_NODES[options.what](stack.enter_context(Client(url)).object_info())
    return 0


if __name__ == "__main__":
    sys.exit(main())
