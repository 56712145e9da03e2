"""What a Dask cluster has, and what its workers lack."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from distributed import Client
from distributed.versions import get_versions

from gluon_nst.doctor.cluster_diagnosis import Side, WorkerFacts, cluster_findings
from gluon_nst.doctor.diagnosis import Finding
from gluon_nst.doctor.worker_facts import default_parameters, describe_worker
from gluon_nst.errors import UsageError
from gluon_nst.storage import absolute, exists, is_url, join, remove, write_bytes
from gluon_nst.versions import installed_versions

__all__ = ["PATIENCE", "ClusterReport", "examine_cluster"]

PATIENCE = 60.0
"""Seconds for a worker to answer: loading MXNet and the network takes some, from a cold network disk most of them."""

_OVER = 5.0  # seconds beyond, in which an answer still comes back
_AT_ONCE = 200  # workers asked at the same time: each takes a connection to the scheduler


@dataclasses.dataclass(frozen=True)
class ClusterReport:
    """What was found.

    Attributes
    ----------
    findings
        In the order in which they are best read.
    workers
        What each worker told.
    """

    findings: tuple[Finding, ...]
    workers: tuple[WorkerFacts, ...]


def examine_cluster(
    client: Client, reads: Sequence[str] = (), writes: str = "", *, patience: float = PATIENCE
) -> ClusterReport:
    """Ask all workers of a cluster for what they are, and whether they reach what they need.

    Parameters
    ----------
    client
        A connected client.
    reads
        Files, folders or URLs that every worker must be able to read.
    writes
        Folder or URL that every worker must be able to write to; it must be there, and is left as it was. Empty:
        none.
    patience
        Seconds for a worker to answer. One that does not is a finding.

    Raises
    ------
    UsageError
        If there is no folder `writes` here.
    OutputError
        If this process itself cannot write to it.
    """
    known = client.scheduler_info(n_workers=-1)["workers"]
    with _marked(absolute(writes) if writes else "") as (folder, mark):
        asked = ([absolute(path) for path in reads], folder, mark, patience)
        answers = _ask(client, list(known), describe_worker, asked, patience + _OVER)
    unable = [address for address, answer in answers.items() if not isinstance(answer, dict | TimeoutError)]
    installed = _ask(client, unable, get_versions, (), _OVER)
    workers = tuple(
        _facts(known[address], answer, installed.get(address)) for address, answer in answers.items()
    )
    here = Side("here", installed_versions(), default_parameters())
    scheduler = Side(client.scheduler.address, _carried(client.run_on_scheduler(get_versions)))
    return ClusterReport(cluster_findings(here, scheduler, workers), workers)


@contextlib.contextmanager
def _marked(folder: str) -> Iterator[tuple[str, str]]:
    """Yield a folder and a file in it by which workers know it again, while it is there; nothing for no folder."""
    if not folder:
        yield "", ""
        return
    if not is_url(folder) and not exists(folder):  # to write would make it
        raise UsageError(f"there is no folder {folder} to write to; make it, or name one that is there.")
    mark = join(folder, f".gluon-nst-doctor-{uuid.uuid4().hex}")
    write_bytes(mark, b"")
    try:
        yield folder, mark
    finally:
        remove(mark)


def _ask(
    client: Client,
    addresses: Sequence[str],
    function: Callable[..., Any],
    arguments: Sequence[Any],
    patience: float,
) -> dict[str, Any]:
    """Return each worker's answer, or the error that came in its place; one that hangs keeps no other waiting."""

    async def ask(address: str, gate: asyncio.Semaphore) -> Any:
        async with gate:
            try:
                running = client.run(function, *arguments, workers=[address], on_error="return")
                return (await asyncio.wait_for(running, patience)).get(address)
            except asyncio.TimeoutError:
                return TimeoutError()  # one class since Python 3.11
            except Exception as error:
                return error

    async def ask_all() -> list[Any]:
        gate = asyncio.Semaphore(_AT_ONCE)
        return await asyncio.gather(*(ask(address, gate) for address in addresses))

    return dict(zip(addresses, client.sync(ask_all), strict=True))


def _facts(known: Mapping[str, Any], answer: Any, installed: Any) -> WorkerFacts:
    """Join what the scheduler knows of a worker and what that told itself, if it did."""
    names = {field.name for field in dataclasses.fields(WorkerFacts)}
    own: dict[str, Any] = {"name": str(known["name"]), "host": known["host"], "threads": known["nthreads"]}
    if isinstance(answer, dict):  # another version's may say more, or less
        return WorkerFacts(**{**own, **{name: answer[name] for name in names & set(answer)}})
    return WorkerFacts(**own, versions=_carried(installed), fault=_told(answer))


def _told(answer: Any) -> str:
    if isinstance(answer, TimeoutError):
        return "it does not answer: it hangs, or its machine is out of reach"
    if type(answer) is Exception:  # in which Dask wraps what cannot be sent
        return str(answer)
    return f"{type(answer).__name__}: {answer}" if isinstance(answer, Exception) else "it left"


def _carried(told: Any) -> dict[str, str]:
    """Return name -> version from what `distributed.versions.get_versions` tells; nothing from an error."""
    if not isinstance(told, dict):
        return {}
    python = ".".join(told["host"]["python"].split(".")[:3])
    packages = {name: version for name, version in told["packages"].items() if version}
    return {
        "python": python,
        **{name: packages[name] for name in ("dask", "distributed", "numpy") if name in packages},
    }
