"""The page of a batch: index.html, static, the videos in a grid beside their references."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fastvmt_core.viz.html_page import page_with
from tools.batch.files import write_file
from tools.batch.jobs import Job
from tools.batch.manifest import NAME, Record, read

TEMPLATE = Path(__file__).with_name("page.html")
PLACE = "BATCH_DATA"
VIDEOS = (".mp4", ".webm", ".mov", ".mkv")
SHOWN = ("name", "prompt", "seed", "reference", "motion", "overrides", "fidelity", "host", "attempt", "error")


def write_page(out: Path, jobs: Sequence[Job]) -> Path:
    """Write the page of ``jobs`` from the manifest; returns its path."""
    latest = {record["digest"]: record for record in read(out / NAME) if record["kind"] == "job"}
    data = {
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "jobs": [_shown(latest.get(job.digest), job) for job in jobs],
    }
    page = out / "index.html"
    write_file(page, page_with(TEMPLATE, PLACE, data).encode())
    return page


def _shown(record: Record | None, job: Job) -> dict[str, Any]:
    """What the page shows of a job; one without a record has not been run yet."""
    if record is None:
        return {
            "name": job.name,
            "prompt": job.text.prompt,
            "seed": job.text.seed,
            "state": "waiting",
            "line": job.line,
        }
    folder = f"jobs/{record['name']}/"
    files = [name for name in record.get("files", {}) if name != "graph.json"]
    video = record.get("video") or next((name for name in files if name.lower().endswith(VIDEOS)), None)
    return {
        **{name: record.get(name) for name in SHOWN},
        "state": record["state"],
        "line": job.line,
        "seconds": record.get("seconds", {}).get("all"),
        "video": video and folder + video,
        "files": [folder + name for name in record.get("files", {})],
        "clip": record.get("clip") and f"references/{record['clip']}",
    }
