"""200 guided runs in one server, and what it holds after each: python -m benchmarks.soak.run

One JSON line a run is appended to benchmarks/results/soak.jsonl. A soak that was stopped goes on with its next run, in
another server. At its end docs/images/soak.svg is drawn, and the exit status is 1 where something grows or is left.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.soak.graphs import MODELS, Job, job, probe
from benchmarks.soak.summary import PLOT, draw, faults_of, in_words
from tools.host.client import Client, JobError, JobInterrupted
from tools.host.layout import REPO, Layout, link
from tools.host.server import Server

RESULTS = REPO / "benchmarks" / "results" / "soak.jsonl"


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, draw the plot, print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON lines; none of an earlier soak: a new one")
    parser.add_argument("--plot", type=Path, default=PLOT)
    given = parser.parse_args(arguments)
    done = read(given.out)
    if len(done) < given.runs:
        with tempfile.TemporaryDirectory(dir=Layout.of().host, prefix="soak-") as folder:
            soak(Path(folder), given.out, range(len(done), given.runs))
        done = read(given.out)
    draw(done, given.plot)
    print(in_words(done))
    faults = faults_of(done)
    for fault in faults:
        print(f"fastvmt: {fault}", file=sys.stderr)
    return bool(faults)


def read(file: Path) -> list[dict[str, Any]]:
    """The runs so far; a last line that was cut off counts as none."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def soak(base: Path, out: Path, numbers: range) -> None:
    """Do the runs of those numbers in one new server, each appended to `out` as it ends."""
    made = sorted({name for name in MODELS if name.startswith("made_")})
    command = [str(Layout.of().python), "-m", "tools.host.made_models", str(base / "models"), *made]
    subprocess.run(command, cwd=REPO, check=True)
    (base / "custom_nodes").mkdir()
    link(base / "custom_nodes" / "fastvmt_soak", Path(__file__).parent / "probe")
    out.parent.mkdir(parents=True, exist_ok=True)
    with Server(base=base) as server, Client(server.url) as client, out.open("a", encoding="utf-8") as lines:
        reference = client.upload_input(REPO / "assets" / "reference.mp4")
        for number in numbers:
            wanted = job(number, reference)
            came, left = one(client, wanted), client.run(probe(wanted, number)).outputs["probe"]["text"][0]
            record = {"run": number, "server": numbers.start, **came, **json.loads(left)}
            lines.write(json.dumps(record) + "\n")
            lines.flush()
            print(f"run {number}: {record['ended']}, {record['seconds']} s, {record['memory_mb']} MB", flush=True)


def one(client: Client, wanted: Job) -> dict[str, Any]:
    """What came of one job."""
    since = time.monotonic()
    try:
        client.run(wanted.graph, canceller(client, wanted.ends))
        ended = "ran"
    except JobInterrupted:
        ended = "cancelled"
    except JobError as error:
        ended = f"{error.node_type}: {error.message.splitlines()[0][:120]}"
    return {**wanted.says, "wanted": wanted.ends, "ended": ended, "seconds": round(time.monotonic() - since, 2)}


def canceller(client: Client, ends: str) -> Callable[[str, dict[str, Any]], None]:
    """Cancels once, in the middle of reading or of guidance, where the job is to end so."""
    asked = []

    def on_event(kind: str, data: dict[str, Any]) -> None:
        reading = kind == "executing" and data.get("node") == "9" and ends == "cancelled in reading"
        guiding = kind == "progress" and data["node"] == "18" and data["value"] % 1 and ends == "cancelled in guidance"
        if (reading or guiding) and not asked:
            asked.append(kind)
            client.interrupt()

    return on_event


if __name__ == "__main__":
    sys.exit(main())
