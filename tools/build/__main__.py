"""Make what is generated: ``python -m tools.build workflows | locales | pictures | motion``."""

from __future__ import annotations

import sys

from tools.build import locales, pictures, shipped_motion, workflows

MADE = {
    "workflows": workflows.main,
    "locales": locales.main,
    "pictures": pictures.main,
    "motion": shipped_motion.main,
}


def main(arguments: list[str]) -> int:
    """Run one of the makers with the arguments after its name; 0 on success."""
    if not arguments or arguments[0] not in MADE:
        print(f"usage: python -m tools.build {{{','.join(MADE)}}} [--help]", file=sys.stderr)
        return 2
    return MADE[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
