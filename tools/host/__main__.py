"""``python3 -m tools.host prepare | python | serve``."""

from __future__ import annotations

import argparse
import sys

from tools.host.layout import Layout, SetupError
from tools.host.prepare import prepare
from tools.host.server import Server, ServerError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.host", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="make the pinned ComfyUI ready; seconds when it is")
    commands.add_parser("python", help="print the interpreter that ComfyUI runs in")
    serve = commands.add_parser("serve", help="start ComfyUI with this checkout in it, until Ctrl-C")
    serve.add_argument("extra", nargs="*", help="further arguments for ComfyUI, after --")
    options = parser.parse_args(arguments)
    layout = Layout.of()
    try:
        if options.command == "python":
            print(layout.python)
            return 0
        prepare(layout)
        if options.command == "serve":
            _serve(layout, options.extra)
        else:
            print(f"fastvmt: ready: {layout.comfyui} with {layout.python}")
    except (SetupError, ServerError) as error:
        print(f"fastvmt: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _serve(layout: Layout, extra: list[str]) -> None:
    with Server(layout=layout, base=layout.base, extra=extra) as server:
        print(f"fastvmt: open {server.url} (Ctrl-C stops it; log: {server.log})", flush=True)
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
