"""``gluon-nst batch --dry-run``: the plan, and what it will take."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from gluon_nst.cli.batch_display import duration, printable

if TYPE_CHECKING:
    from gluon_nst.batch.plan import Group, Plan
    from gluon_nst.cli.batch_call import BatchCall

__all__ = ["show_plan"]

_GROUPS_SHOWN = 10

# Length of a stylized picture's file in bytes per pixel: medians of the six sample photographs, as bytes over width
# times height in results.csv, after, for each FORMAT,
#   gluon-nst batch data/photos --style data/styles/woodblock_waves.jpg --size 256 --steps 30 --format FORMAT -o OUT
# The record in the file, 1.9 KB, is 0.04 of it there.
_BYTES_PER_PIXEL = {".jpg": 1.41, ".png": 2.49, ".webp": 0.75, ".tif": 2.99}


def show_plan(plan: Plan, call: BatchCall) -> int:
    """Print what is planned; return the exit code. Nothing is written, and no worker is started."""
    from gluon_nst.batch.resume import take_stock

    take_stock(
        plan,
        call.run_directory(),
        retry=call.retry,
        verify=call.verify,
        existing=call.existing,
        look_only=True,
    )
    summary = _summary(plan, call)
    if call.as_json:
        click.echo(json.dumps(summary))
    else:
        click.echo("\n".join(_lines(plan, call, summary)))
    return 0


def _summary(plan: Plan, call: BatchCall) -> dict[str, Any]:
    counts = plan.counts()
    groups = list(islice(plan.groups(), _GROUPS_SHOWN))
    return {
        "jobs": sum(counts.values()),
        "to_do": counts.pop("to do", 0),
        "before": counts,
        "groups": [_described(group) for group in groups],
        "seconds": _seconds(plan, call),
        "memory_bytes": _memory(plan, call),
        "output_bytes": _output_bytes(plan, call),
        "run_directory": str(call.run_directory()),
    }


def _described(group: Group) -> dict[str, Any]:
    content = None if group.height is None else [group.height, group.width]
    return {"content": content, "output": _output_shape(group), "jobs": group.jobs, "cost": group.cost}


def _output_shape(group: Group) -> list[int] | None:
    from gluon_nst.errors import ImageSizeError
    from gluon_nst.pyramid import working_shape

    if group.height is None or group.width is None:
        return None
    try:
        return list(working_shape(group.recipe, group.height, group.width))
    except ImageSizeError:
        return None


def _seconds(plan: Plan, call: BatchCall) -> float | None:
    """Foretell the time: from the pictures made before, else from a short try on this machine.

    That of one worker, where nobody knows how many a cluster has.
    """
    cost = plan.cost_to_do()
    before = plan.pace_before()
    if before is not None:
        return cost * before / _workers(plan, call)
    task = plan.largest()
    if task is None or call.scheduler is not None:
        return None if task is not None else 0.0
    from gluon_nst.worker.readiness import measure_pace

    # Workers of one machine share its cores: together they are as fast as the one that was tried.
    return cost * measure_pace(task.job)


def _workers(plan: Plan, call: BatchCall) -> int:
    """Return how many workers are started here; 1 where others come from elsewhere."""
    return max(1, len(call.slots(plan.counts().get("to do", 0))))


def _memory(plan: Plan, call: BatchCall) -> int | None:
    """Foretell the memory of all workers of this machine together, while each has one of the largest pictures.

    That of each worker, where they are elsewhere.
    """
    from gluon_nst.memory_limit import parse_memory_limit
    from gluon_nst.memory_model import predicted_bytes

    shapes = (shape for group in plan.groups() if (shape := _output_shape(group)))
    largest = max(shapes, key=lambda shape: shape[0] * shape[1], default=None)
    if largest is None:
        return None
    height, width = largest
    at_once = 1 if _on_cpus(call) else None
    each = predicted_bytes(call.recipe, call.precision, height, width, call.together, at_once=at_once)
    limit = parse_memory_limit(call.max_memory).size
    return _workers(plan, call) * (min(each, limit) if limit else each)


def _on_cpus(call: BatchCall) -> bool:
    """Tell whether the pictures will be made on CPUs, as far as is known here."""
    from gluon_nst.launch.discovery import slots_of_batch

    if call.device != "auto" or call.scheduler:
        return call.device == "cpu"
    return all(slot.device == "cpu" for slot in slots_of_batch(call.workers or 1, call.device, 1))


def _output_bytes(plan: Plan, call: BatchCall) -> int:
    per_pixel = plan.bytes_per_pixel_before() or _BYTES_PER_PIXEL[call.suffix]
    pixels = sum(
        shape[0] * shape[1] * group.jobs for group in plan.groups() if (shape := _output_shape(group))
    )
    return round(pixels * per_pixel)


def _lines(plan: Plan, call: BatchCall, summary: dict[str, Any]) -> list[str]:
    before = "".join(f", {count:,} {status} before" for status, count in sorted(summary["before"].items()))
    lines = [f"{summary['jobs']:,} jobs: {summary['to_do']:,} to do{before}"]
    lines += map(_group_line, summary["groups"])
    more = sum(1 for _ in plan.groups()) - len(summary["groups"])
    lines += [f"  and {more:,} more shapes"] if more > 0 else []
    lines += [printable(f"  {task.job.content} -> {task.job.output}") for task in islice(plan.tasks(), 3)]
    return lines + _forecast_lines(call, summary)


def _group_line(group: dict[str, Any]) -> str:
    content = "unreadable" if group["content"] is None else _size(group["content"])
    output = "" if group["output"] is None else f" -> {_size(group['output'])}"
    return f"  {group['jobs']:>8,} of {content}{output}"


def _size(shape: list[int]) -> str:
    """Return a (height, width) as people write it."""
    return f"{shape[1]}x{shape[0]}"


def _forecast_lines(call: BatchCall, summary: dict[str, Any]) -> list[str]:
    seconds, memory = summary["seconds"], summary["memory_bytes"]
    time = "not known for that cluster yet" if seconds is None else f"about {duration(seconds)}"
    shared = ", shared by its workers" if call.scheduler and seconds else ""
    lines = [f"time: {time}{shared}"]
    if memory:
        lines.append(f"memory: about {memory / 1e9:.1f} GB{' in each worker' if call.scheduler else ''}")
    megabytes = summary["output_bytes"] / 1e6
    return [*lines, f"output: about {megabytes:,.{0 if megabytes >= 10 else 1}f} MB"]
