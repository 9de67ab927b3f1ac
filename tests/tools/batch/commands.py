"""A batch as its user runs it: the command, in a process of its own."""

import json
import os
import subprocess
import sys

from tools.batch.manifest import NAME
from tools.host.layout import REPO, Layout
from tools.host.processes import is_running


def start(job_list, workflow, out, *extra):
    """The command on two workers of one thread each, with a log beside ``out``."""
    command = [sys.executable, "-m", "tools.batch", job_list, "--workflow", workflow, "--out", out]
    command += ["--workers", "2", "--gpus-per-worker", "0", *extra]
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen([str(part) for part in command], cwd=REPO, stdout=log, stderr=log)


def log_of(out):
    return out.with_suffix(".log").read_text(encoding="utf-8", errors="replace")


def records(out):
    """The lines of the manifest that are whole."""
    path = out / NAME
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def done(out):
    return [record for record in records(out) if record["kind"] == "job" and record["state"] == "done"]


def wait_for(process, out, jobs):
    """Return once the manifest has ``jobs`` done, or the command has ended."""
    while len(done(out)) < jobs:
        try:
            process.wait(0.1)
            return
        except subprocess.TimeoutExpired:
            continue


def boxes():
    """Process ids of the workers that run a ComfyUI in a folder of this checkout's."""
    owners = (int(folder.name.rpartition("-")[2]) for folder in Layout.of().host.glob("batch-*"))
    return [owner for owner in owners if is_running(owner)]


def servers():
    """Process ids of the ComfyUIs of boxes of this checkout that run."""
    mark = f"{Layout.of().host}/batch-".encode()
    found = []
    for folder in os.listdir("/proc"):
        try:
            with open(f"/proc/{folder}/cmdline", "rb") as file:
                command = file.read()
        except OSError:
            continue
        if folder.isdigit() and mark in command and b"main.py" in command:
            found.append(int(folder))
    return found
