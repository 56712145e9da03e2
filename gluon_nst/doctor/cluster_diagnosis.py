"""From facts about the workers of a cluster to findings, few enough to be read of five hundred workers.

Pure functions; `gluon_nst.doctor.cluster` gathers the facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from gluon_nst.doctor.diagnosis import Finding
from gluon_nst.versions import BESIDE, DECISIVE, same_release

__all__ = ["Side", "WorkerFacts", "cluster_findings"]

Fact = TypeVar("Fact", bound=Hashable)

_NAMED = 4  # workers that a line names; more of them make no line that can be read


@dataclass(frozen=True)
class WorkerFacts:
    """What is known of a worker.

    Attributes
    ----------
    name, host, threads
        As its scheduler knows it.
    versions
        Name -> version, as `gluon_nst.versions.installed_versions` returns it.
    device, kind, precision
        "cpu" or "gpu:K", the name of that chip, and in what it computes.
    memory
        Bytes free on its machine; None: not known.
    parameters
        sha256 of the default recipe's.
    storage
        What was tried -> what was wrong, empty if nothing was.
    fault
        Why it cannot work; empty if it can.
    """

    name: str
    host: str = ""
    threads: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    kind: str = ""
    precision: str = ""
    memory: int | None = None
    parameters: str = ""
    storage: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class Side:
    """What is known of the scheduler, or of the process that asks."""

    name: str
    versions: Mapping[str, str]
    parameters: str = ""


def cluster_findings(here: Side, scheduler: Side, workers: Sequence[WorkerFacts]) -> tuple[Finding, ...]:
    """Judge a cluster.

    Parameters
    ----------
    here
        The process that asks, as the batch would.
    scheduler
        Its name is its address.
    workers
        All of them.
    """
    carried = ", ".join(f"{name} {scheduler.versions[name]}" for name in BESIDE if name in scheduler.versions)
    first = Finding("scheduler", "ok", f"{scheduler.name}: {carried}")
    if not workers:
        remedy = f"gluon-nst workers {scheduler.name}"
        return (first, Finding("workers", "problem", "none is there", remedy))
    return (
        first,
        *_able(workers),
        *_unable(workers),
        *_kinds(workers),
        *_versions(here, scheduler, workers),
        *_parameters(here, workers),
        *_storage(workers),
    )


def _able(workers: Sequence[WorkerFacts]) -> Iterator[Finding]:
    able = [each for each in workers if not each.fault]
    for (device, kind, precision, threads), group in _grouped(
        able, lambda each: (each.device, each.kind, each.precision, each.threads)
    ).items():
        text = f"{_names(group)}: {device} ({kind}) in {precision}, {threads} threads{_memory(group)}"
        yield Finding("workers", "ok", text)


def _unable(workers: Sequence[WorkerFacts]) -> Iterator[Finding]:
    broken = [each for each in workers if each.fault]
    for fault, group in _grouped(broken, lambda each: each.fault).items():
        remedy = "run `gluon-nst doctor` on its machine"
        if "No module named 'gluon_nst" in fault:
            remedy = "install the same gluon-nst in the Python that the worker runs in"
        yield Finding("workers", "problem", f"{_names(group)}: {fault}", remedy)


def _kinds(workers: Sequence[WorkerFacts]) -> Iterator[Finding]:
    able = [each for each in workers if not each.fault]
    kinds = _grouped(able, lambda each: (each.kind, each.precision))
    if len(kinds) > 1:
        yield Finding(
            "devices", "note", f"{len(kinds)} kinds of device and precision: pictures differ a little between them",
            "where that matters, use workers of one kind, or at least one --precision for all",
        )  # fmt: skip


def _versions(here: Side, scheduler: Side, workers: Sequence[WorkerFacts]) -> Iterator[Finding]:
    sides = [("here", here.versions), *((each.name, each.versions) for each in workers)]
    alike: list[str] = []
    for name in DECISIVE:
        held = _held(name, sides)
        if len(held) > 1:
            text = f"pictures would differ: {_told(held)}"
            yield Finding(name, "problem", text, "install the same everywhere")
        else:
            alike.extend(f"{name} {version}" for version in held)
    yield Finding("versions", "ok", f"the same everywhere: {', '.join(alike) or 'none'}")
    for name in BESIDE:
        held = _held(name, [*sides, ("the scheduler", scheduler.versions)])
        if len(held) > 1:
            text = f"{_told(held)}: pictures are the same, but Dask is made for the same everywhere"
            yield Finding(name, "note", text)


def _held(name: str, sides: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, list[str]]:
    """Return version -> who has it; where one has none, that is another finding's matter."""
    held: dict[str, list[str]] = {}
    for who, versions in sides:
        if name in versions:
            same = next((each for each in held if same_release(each, versions[name])), versions[name])
            held.setdefault(same, []).append(who)
    return held


def _told(held: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{version} {_listed(who)}" for version, who in held.items())


def _parameters(here: Side, workers: Sequence[WorkerFacts]) -> Iterator[Finding]:
    able = [each for each in workers if each.parameters]
    others = _grouped(
        [each for each in able if each.parameters != here.parameters], lambda each: each.parameters
    )
    for sha256, group in others.items():
        text = f"{_names(group)}: sha256 {sha256[:12]}..., not {here.parameters[:12]}... as here"
        yield Finding("parameters", "problem", text, "install the same gluon-nst everywhere")
    if able and not others:
        yield Finding("parameters", "ok", f"the same everywhere: sha256 {here.parameters[:12]}...")


def _storage(workers: Sequence[WorkerFacts]) -> Iterator[Finding]:
    """Judge each thing that was tried."""
    for what in dict.fromkeys(what for each in workers for what in each.storage):
        asked = [each for each in workers if what in each.storage]
        by_fault = _grouped(asked, partial(_fault_at, what))
        well = by_fault.pop("", [])
        for fault, group in by_fault.items():
            remedy = "mount it there, at the same path, or give the workers' user the right to it"
            yield Finding(what, "problem", f"{_names(group)}: {fault}", remedy)
        if well:
            yield Finding(what, "ok", f"{_names(well)} can")


def _fault_at(what: str, worker: WorkerFacts) -> str:
    return worker.storage[what]


def _grouped(
    workers: Iterable[WorkerFacts], by: Callable[[WorkerFacts], Fact]
) -> dict[Fact, list[WorkerFacts]]:
    groups: dict[Fact, list[WorkerFacts]] = {}
    for each in workers:
        groups.setdefault(by(each), []).append(each)
    return groups


def _names(group: Sequence[WorkerFacts]) -> str:
    listed = _listed([each.name for each in group])
    hosts = {each.host for each in group if each.host}
    if len(group) <= _NAMED:
        return listed
    return f"{len(group)} workers on {len(hosts)} host{'s' * (len(hosts) != 1)} ({listed})"


def _listed(names: Sequence[str]) -> str:
    """Return names in the order in which a person counts, at most so many of them."""
    ordered = sorted(names, key=_counting)
    more = len(ordered) - _NAMED
    if more <= 0:
        return ", ".join(ordered)
    return f"{', '.join(ordered[:_NAMED])} and {more} more"


def _counting(name: str) -> list[tuple[int, str]]:
    """Return a key by which "node9" comes before "node10", and "here" first."""
    parts = re.findall(r"\d+|\D+", "" if name == "here" else name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _memory(group: Sequence[WorkerFacts]) -> str:
    free = sorted(each.memory for each in group if each.memory is not None)
    if not free:
        return ""
    least, most = (f"{number / 1e9:.1f}" for number in (free[0], free[-1]))
    return f", {least if least == most else f'{least} to {most}'} GB of memory free"
