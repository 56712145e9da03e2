"""What the batch machinery costs: against a bare loop, in jobs per second, and in memory.

python -m benchmarks.batch_speed overhead     gluon-nst batch against a bare loop over the same Stylizer, at 256 px
python -m benchmarks.batch_speed apart        gluon-nst batch against one process of gluon-nst stylize per photograph
python -m benchmarks.batch_speed rate         jobs per second with a stand-in engine that takes 2 ms, end to end
python -m benchmarks.batch_speed memory       memory of scheduler and client, and of the plan, as jobs grow
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from PIL import Image

from tests.batch.field import Cluster, batch_command, environment, journal_of, write_photo, write_style

DATA = Path(__file__).parent.parent / "data"
STYLE = DATA / "styles" / "woodblock_waves.jpg"

# A loop as one would write it: one Stylizer, read, stylize, write; nothing is recorded and nothing overlaps.
BARE = """
import sys, time
from pathlib import Path
import gluon_nst
from gluon_nst.inputs import take_input
from gluon_nst.api import make_stylizer, stylize_inputs
photos, style, out, steps = sys.argv[1:]
stylizer = make_stylizer(gluon_nst.recipe_files.tailor(gluon_nst.load_recipe(), size=256, steps=int(steps)))
painting = take_input(style)
names = sorted(Path(photos).iterdir())
stylize_inputs(stylizer, [take_input(names[0])], [painting])
began = time.perf_counter()
for path in names:
    result = stylize_inputs(stylizer, [take_input(path)], [painting])[0]
    result.save(Path(out) / (path.stem + ".jpg"))
print(time.perf_counter() - began)
"""


def overhead(count: int, steps: int, rounds: int) -> None:
    """Time both ways in turn, from the first job's start to the last one's end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder / "photos", count)
        times: dict[str, list[float]] = {"bare loop": [], "batch, this process": [], "batch, one worker": []}
        for number in range(rounds):
            times["bare loop"].append(bare_loop(folder, number, steps))
            times["batch, this process"].append(batch(folder, number, steps, workers=0))
            times["batch, one worker"].append(batch(folder, number, steps, workers=1))
    base = median(times["bare loop"])
    print(
        f"| {count} photographs at 256 px, {steps} steps | seconds, median of {rounds} | to the bare loop |"
    )
    print("|---|---|---|")
    for way, seconds in times.items():
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        print(f"| {way} | {median(seconds):.2f} ({spread}) | {median(seconds) / base:.3f} |")


def write_photographs(folder: Path, count: int, shapes: Sequence[tuple[int, int]] = ()) -> None:
    """Write the samples as JPEG of some shapes, or each of its own; 12 megapixels would only slow the reading."""
    folder.mkdir()
    photos = [Image.open(path).convert("RGB") for path in sorted((DATA / "photos").glob("*.jpg"))]
    for number in range(count):
        photo = photos[number % len(photos)]
        shape = shapes[number % len(shapes)] if shapes else (1200 - 8 * number, 900)
        photo.resize(shape).save(folder / f"p{number:03}.jpg", quality=92)


def bare_loop(folder: Path, number: int, steps: int) -> float:
    out = folder / f"bare-{number}"
    out.mkdir()
    command = [sys.executable, "-c", BARE, str(folder / "photos"), str(STYLE), str(out), str(steps)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def batch(folder: Path, number: int, steps: int, workers: int) -> float:
    """Return the time from the first to the last job: start-up is paid once, however many there are."""
    out = folder / f"batch-{workers}-{number}"
    words = ("--style", STYLE, "-o", out, "--workers", workers, "--size", 256, "--steps", steps)
    command = [sys.executable, "-m", "gluon_nst", "batch", folder / "photos", *words]
    subprocess.run(list(map(str, command)), capture_output=True, check=True)
    records = journal_of(out)
    first = min(record["finished_at"] - record["seconds"] for record in records)
    return max(record["finished_at"] for record in records) - first


def apart(count: int, steps: int | None, rounds: int, size: int = 256) -> None:
    """Time whole commands: one for all, and one for each photograph, one after the other."""
    settings = ["--size", size, *(["--steps", steps] if steps else [])]
    times: dict[str, list[float]] = {"one process per photograph": [], "gluon-nst batch": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder / "photos", count, shapes=[(1200, 900), (1200, 800)])
        photos = sorted((folder / "photos").iterdir())
        for number in range(rounds):
            out = folder / f"apart-{number}"
            out.mkdir()
            one_by_one = [["stylize", photo, STYLE, "-o", out / photo.name, *settings] for photo in photos]
            at_once = [
                "batch",
                folder / "photos",
                "--style",
                STYLE,
                "-o",
                folder / f"batch-{number}",
                *settings,
            ]
            times["one process per photograph"].append(timed(one_by_one))
            times["gluon-nst batch"].append(timed([at_once]))
    base = median(times["one process per photograph"])
    what = f"{steps} steps" if steps else "all steps of the recipe"
    print(f"| {count} photographs at {size} px, {what} | seconds | photographs per hour | times as many |")
    print("|---|---|---|---|")
    for way, seconds in times.items():
        typical = median(seconds)
        print(f"| {way} | {typical:.1f} | {3600 * count / typical:.0f} | {base / typical:.2f} |")


def timed(commands: list[list[object]]) -> float:
    """Run commands of gluon-nst one after the other; return the seconds that they took."""
    began = time.perf_counter()
    for words in commands:
        command = [sys.executable, "-m", "gluon_nst", *map(str, words)]
        subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - began


def rate(count: int) -> None:
    """Run many jobs of 2 ms on two local workers; from the first job's start to the last record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            write_photo(folder / "photos" / f"p{number:05}.png", "good", number)
        style = write_style(folder / "style.png")
        began = time.time()
        command = batch_command(folder / "photos", "--style", style, "-o", folder / "out")
        subprocess.run(command, env=environment(STAND_IN_SECONDS="0.002"), check=True, capture_output=True)
        whole = time.time() - began
        records = journal_of(folder / "out")
        first = min(record["finished_at"] - record["seconds"] for record in records)
        span = max(record["finished_at"] for record in records) - first
    print("| jobs | jobs per second | whole command, start and plan included |\n|---|---|---|")
    print(f"| {count} | {count / span:.0f} | {whole:.1f} s |")


# As docs/batch.md has it for schedulers of one's own.
SHORT_LOG = {"DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH": "20"}


def memory(counts: list[int]) -> None:
    """Watch the peak memory of client and scheduler over runs of different lengths."""
    print("| jobs | client while they run, MB | scheduler, peak MB |\n|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number in range(count):
                write_photo(folder / "photos" / f"p{number:05}.png", "good", number)
            style = write_style(folder / "style.png")
            with Cluster(folder, STAND_IN_SECONDS="0.002", **SHORT_LOG) as cluster:
                words = ("--style", style, "-o", folder / "out", "--scheduler", cluster.address)
                client = subprocess.Popen(
                    batch_command(folder / "photos", *words), env=environment(), stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )  # fmt: skip
                running = most_while_running(client, folder / "out" / ".gluon-nst" / "status.json")
                assert cluster.scheduler is not None
                scheduler = read_megabytes(cluster.scheduler.pid, "VmHWM")
            print(f"| {count:,} | {running:.0f} | {scheduler:.0f} |", flush=True)


def most_while_running(client: subprocess.Popen, status: Path) -> float:
    """Return the most memory that the client had while jobs were running: the tables at the end are bounded."""
    most = 0.0
    while client.poll() is None:
        if status.exists() and '"running"' in status.read_text():
            with contextlib.suppress(OSError, StopIteration):
                most = max(most, read_megabytes(client.pid, "VmRSS"))
        time.sleep(0.2)
    return most


def read_megabytes(pid: int, what: str) -> float:
    """Return a figure of a living process's memory, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["overhead", "apart", "rate", "memory"])
    parser.add_argument("--jobs", type=int, nargs="+")
    parser.add_argument("--steps", type=int, help="30 for overhead, the recipe's for apart")
    parser.add_argument("--rounds", type=int, help="3 for overhead, 1 for apart")
    parser.add_argument("--size", type=int, default=256, help="of apart")
    given = parser.parse_args(words)
    if given.what == "overhead":
        overhead((given.jobs or [12])[0], given.steps or 30, given.rounds or 3)
    elif given.what == "apart":
        apart((given.jobs or [100])[0], given.steps, given.rounds or 1, given.size)
    elif given.what == "rate":
        rate((given.jobs or [10_000])[0])
    else:
        memory(given.jobs or [1_000, 4_000, 16_000])


if __name__ == "__main__":
    main()
