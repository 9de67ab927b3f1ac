"""ComfyUI's modules, importable for training once this file is imported; the host itself keeps to the CPU."""

from __future__ import annotations

import sys

from tools.host.layout import Layout

sys.path.insert(0, str(Layout.of().comfyui))

import comfy.cli_args  # noqa: E402 (importable only now)

comfy.cli_args.args.cpu = True
