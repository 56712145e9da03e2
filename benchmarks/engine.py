"""The engine next to the Gluon chapter's own loop and next to PyTorch: seconds a step, memory, pictures together.

python -m benchmarks.engine                        everything, at 512x384 and 256x192 (about 15 minutes on two cores)
python -m benchmarks.engine steps --size 1024      one part of it
python -m benchmarks.engine --quick                tiny, to see that it runs

All contestants of a table live at the same time and take turns, so that a machine that slows down slows all of them; a
table gives medians, and ratios of medians. Each runs in a process of its own and in its own default environment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contestants import CONTESTANTS, Contestant
from gluon_nst.bench import describe_machine
from gluon_nst.bench.flops import ROOFLINE_FLOPS, step_flops
from gluon_nst.recipe_files import load_recipe

RECIPE = "d2l"
PARTS = ("steps", "together", "memory")


def steps(height: int, width: int, names: Sequence[str], rounds: int, every: int) -> list[dict[str, Any]]:
    """Let all take turns; return a row for each."""
    rows = race([(name, 1) for name in names], height, width, rounds, every)
    flops = step_flops(load_recipe(RECIPE), height, width)
    for row in rows:
        row["flops"] = (ROOFLINE_FLOPS if row["name"].startswith("roofline") else flops) / row["seconds"]
    return rows


def together(height: int, width: int, names: Sequence[str], rounds: int, every: int) -> list[dict[str, Any]]:
    """Let four pictures at once take turns with one; return rows with the seconds of one picture's step."""
    rows = race([(name, count) for name in names for count in (1, 4)], height, width, rounds, every)
    for row in rows:
        row["seconds"] /= row["together"]
    return rows


def memory(height: int, width: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """Let each do two steps, alone on the machine; return rows with the most memory they had."""
    return [row for name in names for row in race([(name, 1)], height, width, 0, 2)]


def race(
    entries: Sequence[tuple[str, int]], height: int, width: int, rounds: int, every: int
) -> list[dict[str, Any]]:
    """Run entries (name, pictures together) in turn; return the medians of each, or why it has none."""
    with contextlib.ExitStack() as stack:
        runners = []
        for name, count in entries:
            own = Contestant(name, height, width, every=every, together=count, recipe=RECIPE)
            runners.append(stack.enter_context(own))
        rows = [
            {"name": each.name, "together": each.together, "height": height, "width": width, **begin(each)}
            for each in runners
        ]
        running = [(runner, row) for runner, row in zip(runners, rows, strict=True) if "failure" not in row]
        for _ in range(rounds):
            for runner, row in running:
                answer = runner.go()
                row["rounds"].append(answer["seconds"])
                row["peak_memory"] = answer["peak_memory"]
        for _, row in running:
            row["seconds"] = median(row["rounds"] or [0.0])
    return rows


def begin(runner: Contestant) -> dict[str, Any]:
    """Let a contestant warm up."""
    try:
        return {"rounds": [], "peak_memory": runner.ready()["peak_memory"]}
    except RuntimeError as error:
        return {"failure": str(error)}


def steps_table(rows: Sequence[dict[str, Any]]) -> str:
    found = {row["name"]: row for row in rows if "seconds" in row}
    rivals = [row["seconds"] for name, row in found.items() if name.startswith("PyTorch")]
    lines = [
        f"| {rows[0]['width']}x{rows[0]['height']}, one pair | s/step | chapter / this | best PyTorch / this "
        "| GFLOP/s | of the roofline | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        roof = found.get(f"roofline {'bfloat16' if 'bfloat16' in name else 'float32'}")
        ratios = ["", ""] if name.startswith("roofline") else [
            ratio(found["chapter"]["seconds"], row) if "chapter" in found else "",
            ratio(min(rivals), row) if rivals else "",
        ]  # fmt: skip
        share = f"{row['flops'] / roof['flops']:.0%}" if roof and not name.startswith("chapter") else ""
        lines.append(
            f"| {name} | {row['seconds']:.3f} | {' | '.join(ratios)} | {row['flops'] / 1e9:.0f} | {share} "
            f"| {row['peak_memory'] / 1e6:.0f} |"
        )
    return "\n".join([*lines, *failures(rows)])


def ratio(seconds: float, row: dict[str, Any]) -> str:
    return f"{seconds / row['seconds']:.2f}"


def together_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"| {rows[0]['width']}x{rows[0]['height']} | pictures together | s/step and picture | one by one / this |",
        "|---|---|---|---|",
    ]
    alone = {row["name"]: row["seconds"] for row in rows if row["together"] == 1 and "seconds" in row}
    for row in rows:
        if "seconds" in row and row["name"] in alone:
            lines.append(
                f"| {row['name']} | {row['together']} | {row['seconds']:.3f} | {ratio(alone[row['name']], row)} |"
            )
    return "\n".join([*lines, *failures(rows)])


def memory_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"| {rows[0]['width']}x{rows[0]['height']}, one pair | peak MB |", "|---|---|"]
    lines += [f"| {row['name']} | {row['peak_memory'] / 1e6:.0f} |" for row in rows if "peak_memory" in row]
    return "\n".join([*lines, *failures(rows)])


def failures(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [f"\nno figures: {row['failure']}" for row in rows if "failure" in row]


TABLES = {"steps": steps_table, "together": together_table, "memory": memory_table}


def main(words: Sequence[str] | None = None) -> None:
    given = arguments(words)
    shape = {size: (size * 3 // 4, size) for size in (*given.size, given.together_size, given.memory_size)}
    runners = [name for name in given.who if not name.startswith("roofline")]
    own = [name for name in runners if name.startswith("gluon_nst")]
    found: dict[str, Any] = {"machine": describe_machine(), "recipe": RECIPE, "tables": []}

    def keep(part: str, rows: list[dict[str, Any]]) -> None:
        found["tables"].append({"part": part, "rows": rows})
        print(f"{TABLES[part](rows)}\n", flush=True)
        if given.json:  # after each table: what was measured is not to be lost
            given.json.write_text(json.dumps(found, indent=1))

    if "steps" in given.part:
        for size in given.size:
            keep("steps", steps(*shape[size], given.who, given.rounds, given.every))
    if "together" in given.part:
        keep("together", together(*shape[given.together_size], own, given.rounds, given.every))
    if "memory" in given.part:
        keep("memory", memory(*shape[given.memory_size], [name for name in runners if "chapter" not in name]))


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", metavar="|".join(PARTS), help="all of them if none is named")
    parser.add_argument(
        "--size", type=int, nargs="+", default=[512, 256], help="longer sides of the steps' pictures"
    )
    parser.add_argument("--together-size", type=int, default=256)
    parser.add_argument("--memory-size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=int, default=1, help="steps a turn")
    parser.add_argument("--who", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="32 px and two rounds")
    given = parser.parse_args(words)
    given.part = given.part or list(PARTS)
    if unknown := set(given.part) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; parts: {', '.join(PARTS)}")
    if given.quick:
        given.size, given.together_size, given.memory_size, given.rounds = [32], 32, 32, 2
    return given


if __name__ == "__main__":
    main()
