"""One poison picture, five, and a broken worker: plain Dask and gluon-nst side by side.

python -m benchmarks.batch_faults            (about three minutes on two cores)

Both run the same jobs in the same kind of worker processes (two, one nanny each), with a stand-in engine of 50 ms;
plain Dask calls what a gluon-nst worker runs for one job. Nothing but the dispatch differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from dask.distributed import Client, as_completed

from gluon_nst import BatchRequest, Job, collect_jobs, load_recipe
from gluon_nst.batch.outcomes import Kind
from gluon_nst.worker import run_chunk
from tests.batch.field import (
    Cluster,
    batch_command,
    environment,
    journal_of,
    wait_until,
    write_photo,
    write_style,
)

JOBS = 120
SCENARIOS = {
    "1 poison picture": {"poison": 1},
    "5 poison pictures": {"poison": 5},
    "1 of 2 workers raises": {"manner": "raise only at work"},
    "1 of 2 workers paints black": {"manner": "black only at work"},
}
PLAIN = {
    "client.map": {},
    "client.map, resources GPU=1": {"resources": {"GPU": 1}},
    "client.map, resources GPU=1, retries=3": {"resources": {"GPU": 1}, "retries": 3},
}


def make_field(folder: Path, poison: int) -> Path:
    """Write the photographs and the style."""
    bad = {JOBS // (poison + 1) * each for each in range(1, poison + 1)}
    for number in range(JOBS):
        write_photo(folder / "photos" / f"p{number:03}.png", "poison" if number in bad else "good", number)
    return write_style(folder / "style.png")


def plain_job(job: Job) -> str:
    """Do one job as a task of plain Dask would: what fails is raised."""
    (outcome,) = run_chunk([job]).outcomes
    if outcome.kind is not Kind.DONE:
        raise RuntimeError(outcome.result and outcome.result.error)
    return outcome.key


def plain(folder: Path, style: Path, address: str, options: dict) -> Counter:
    """Run the jobs as one would without gluon-nst: one call of client.map."""
    recipe = load_recipe("default", size=32, steps=1, coarse_steps=1)
    request = BatchRequest(
        (str(folder / "photos"),), (str(style),), str(folder / "plain"), recipe, suffix=".png"
    )
    jobs = [candidate.job for candidate in collect_jobs(request)]
    ended: Counter[str] = Counter()
    with Client(address) as client:
        client.wait_for_workers(2, timeout=60)
        futures = client.map(plain_job, jobs, pure=False, **options)
        for future in as_completed(futures):
            ended["done" if future.status == "finished" else "failed"] += 1
    return ended


def ours(folder: Path, style: Path, address: str) -> Counter:
    """Run the jobs by the command."""
    out = folder / "ours"
    command = batch_command(folder / "photos", "--style", style, "-o", out, "--scheduler", address)
    subprocess.run(command, env=environment(), capture_output=True, check=False, timeout=600)
    return Counter(
        "done" if r["status"] in ("succeeded", "skipped") else r["status"] for r in journal_of(out)
    )


def measure(scenario: dict, run) -> tuple[Counter, float]:
    """Run one way on a fresh cluster; return how jobs ended, and the seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        style = make_field(folder, scenario.get("poison", 0))
        more = {"STAND_IN_SECONDS": "0.05"}
        if "manner" in scenario:
            (folder / "broken").mkdir()
            (folder / "broken" / "manner").write_text(scenario["manner"])
            more["STAND_IN_BROKEN"] = str(folder / "broken")
        with Cluster(folder, workers=0, **more) as field:
            for number in range(2):
                field.add_worker(number, "--resources", "GPU=1")
            wait_until(lambda: len(field.worker_processes()) == 2)
            began = time.monotonic()
            ended = run(folder, style, field.address)
            return ended, time.monotonic() - began


def described(ended: Counter, poison: int) -> str:
    """Return a cell of the table."""
    good = JOBS - poison
    innocent = good - ended["done"]
    named = f", {ended['poison']} named as poison" if ended["poison"] else ""
    return f"{ended['done']} of {good}, {innocent} innocent failed{named}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    os.environ["DASK_DISTRIBUTED__LOGGING__DISTRIBUTED"] = "critical"
    print(f"| scenario ({JOBS} jobs of 50 ms) | way | good jobs done | seconds |\n|---|---|---|---|")
    for name, scenario in SCENARIOS.items():
        ways = {label: lambda f, s, a, o=options: plain(f, s, a, o) for label, options in PLAIN.items()}
        for label, run in {**ways, "gluon-nst batch": ours}.items():
            ended, seconds = measure(scenario, run)
            print(
                f"| {name} | {label} | {described(ended, scenario.get('poison', 0))} | {seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
