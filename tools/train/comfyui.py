"""Makes ComfyUI's modules importable for training: importing this file does it, once, on the CPU unless told else."""

from __future__ import annotations

import sys

from tools.host.layout import Layout

sys.path.insert(0, str(Layout.of().comfyui))

import comfy.cli_args  # noqa: E402 (only now on the path)

comfy.cli_args.args.cpu = True
