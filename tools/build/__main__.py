"""Make what is generated: ``python -m tools.build {workflows,locales,pictures,motion,sbom}``, most of a live server."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from tools.build import locales, pictures, sbom, shipped_motion, workflows
from tools.host.client import Client
from tools.host.server import Server

OF_NODES = {"workflows": workflows.make, "locales": locales.make}
"""Made of the server's description of its nodes."""
OF_THE_TREE = {"motion": shipped_motion.make, "sbom": sbom.make}
"""Made without a server."""


def main(arguments: list[str] | None = None) -> int:
    """Run one of the makers; 0 on success."""
    parser = argparse.ArgumentParser(prog="python -m tools.build", description=__doc__.partition(":")[0])
    parser.add_argument("what", choices=(*OF_NODES, "pictures", *OF_THE_TREE))
    parser.add_argument("--url", help="a server that runs already; without one, one is started, where one is needed")
    parser.add_argument("--only", choices=pictures.PARTS, help="one kind of the pictures")
    options = parser.parse_args(arguments)
    if options.what in OF_THE_TREE:
        OF_THE_TREE[options.what]()
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
