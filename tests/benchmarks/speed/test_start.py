"""The start of ComfyUI with the pack: quiet, and without packages that the host has not imported anyway."""

import json
import subprocess

from tools.host.layout import REPO, Layout

STANDARD = {"tomllib"}
"""Of Python itself."""


def test_the_pack_adds_no_package_and_no_warning_to_the_start():
    command = [str(Layout.of().python), "-m", "benchmarks.speed.start"]
    ended = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert set(report["packages"]) <= STANDARD
    assert report["warnings"] == []
    # Else nothing was loaded that could have been counted.
    assert report["files"] > 100
