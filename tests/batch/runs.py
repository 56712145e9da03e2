"""Run directories for the tests, written line by line as a batch writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from gluon_nst.jobs import JobResult, result_record


def record(number: int = 1, status: str = "succeeded", **fields: Any) -> dict[str, Any]:
    """Return the journal's record of a job; fields of no result, such as blend, are added as they are."""
    values = {
        "job_id": f"{number:016x}",
        "content": f"/photos/{number:05d}.jpg",
        "styles": ("/styles/waves.jpg",),
        "output": f"/out/{number:05d}.jpg",
        "status": status,
        "seconds": 1.5,
        "worker": "w1",
        "finished_at": 1.7e9 + number,
        **(
            {"losses": {"content": 1.0, "style": 2.0, "tv": 0.5, "total": 3.5}}
            if status == "succeeded"
            else {}
        ),
    }
    known = {name: value for name, value in {**values, **fields}.items() if name in JobResult.__annotations__}
    losses = tuple(dict(known.pop("losses", {})).items())
    return {**result_record(JobResult(**known, losses=losses)), **fields}


def make_run(out: Path, records: Iterable[dict[str, Any]], *, status: dict[str, Any] | None = None) -> Path:
    """Write a run directory into an output folder and return it."""
    run = out / ".gluon-nst"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "journal.jsonl").open("w") as file:
        file.writelines(json.dumps(each) + "\n" for each in records)
    if status is not None:
        (run / "status.json").write_text(json.dumps(status))
    return run


def picture(
    path: Path, *, size: tuple[int, int] = (60, 40), color: tuple[int, int, int] = (40, 90, 160)
) -> str:
    """Write a picture of one color, `size` being Pillow's (width, height), and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, "png")
    return str(path)
