"""What a Dask worker tells the doctor of itself; called in its process, and answered with plain values.

Everything is done in threads, each with a time limit: the worker goes on meanwhile, and a device or a file system
that hangs takes nothing with it but a thread.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gluon_nst import machine
from gluon_nst.errors import ClusterError, GluonNSTError, OutputError
from gluon_nst.gpu_driver import driver_from
from gluon_nst.jobs import Job
from gluon_nst.parameters import load_parameters
from gluon_nst.paths import is_url, join
from gluon_nst.probe import call_apart
from gluon_nst.recipe_files import load_recipe
from gluon_nst.storage import check_writable, exists, read_start, remove, write_bytes
from gluon_nst.versions import installed_versions
from gluon_nst.worker.readiness import last_readiness, prove_ready

__all__ = ["default_parameters", "describe_worker"]


async def describe_worker(
    reads: Sequence[str], writes: str, mark: str, patience: float, dask_worker: Any
) -> dict[str, Any]:
    """Return what a worker is and can do.

    Parameters
    ----------
    reads
        Files, folders or URLs to be read.
    writes
        Folder or URL to be written to; empty: none.
    mark
        File in it that must be there, or it is not the folder that is meant.
    patience
        Seconds for each thing that is tried.
    dask_worker
        The worker.

    Returns
    -------
    dict
        "host", "versions" and "memory" (bytes free, or None); "kind" (name of the GPU or processor), "device",
        "precision" and "parameters" (sha256) if it proved ready, or "fault"; "storage": what was tried -> what was
        wrong, empty if nothing was.
    """
    tries = {f"reads {path}": partial(_read, path) for path in reads}
    if writes:
        tries[f"writes {writes}"] = partial(_write, writes, mark)
    busy = bool(dask_worker.state.executing)
    engine, *faults = await asyncio.gather(
        _within(patience, partial(_engine, busy)), *(_within(patience, each) for each in tries.values())
    )
    told: dict[str, Any] = {"fault": engine} if isinstance(engine, str) else engine
    versions = {**installed_versions(), **told.pop("versions", {})}
    storage = {name: fault or "" for name, fault in zip(tries, faults, strict=True)}
    return {
        "host": socket.gethostname(), "memory": machine.available_memory(), **told, "versions": versions,
        "storage": storage,
    }  # fmt: skip


async def _within(patience: float, work: Callable[[], Any]) -> Any:
    """Return what `work` gives, or how it failed, in words."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(work), patience)
    except asyncio.TimeoutError:
        return f"no answer within {patience:g} seconds"
    except GluonNSTError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _engine(busy: bool) -> dict[str, Any]:
    """Prove ready; a worker that computes has done so, and must not load another network now."""
    job = Job("", (), "", load_recipe())
    ready = (last_readiness() if busy else None) or prove_ready(job)
    return {
        "device": ready.device, "precision": ready.precision, "kind": _kind(ready.device),
        "versions": {"gluon_nst": ready.version, "mxnet": ready.mxnet}, "parameters": default_parameters(),
    }  # fmt: skip


def default_parameters() -> str:
    """Return the sha256 of the parameters that the default recipe uses."""
    return load_parameters("bundled", load_recipe().network).sha256


def _kind(device: str) -> str:
    """Return the name of the GPU or processor."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return machine.cpu_model()
    reply = call_apart("gluon_nst.gpu_driver:describe_driver")
    gpus = driver_from(reply.answer).gpus if reply.answer else ()
    return gpus[int(index)].name if int(index) < len(gpus) else "a GPU whose name its driver does not tell"


def _read(path: str) -> None:
    """Read the first byte of a file, or see that there is a folder, or something that begins so in a store."""
    try:
        read_start(path, 1)
    except IsADirectoryError:
        os.scandir(path).close()
    except FileNotFoundError:
        if not (is_url(path) and exists(path)):
            raise


def _write(folder: str, mark: str) -> None:
    """Write to a folder, which must be the one that the mark is in."""
    if not exists(mark):
        if not exists(folder):
            raise OutputError("there is no such folder")
        raise ClusterError(
            "there is such a folder, but it is another than the doctor's: a file made there is not here"
        )
    name = join(folder, f".gluon-nst-doctor-{uuid.uuid4().hex}")
    check_writable(name)
    if is_url(folder):
        write_bytes(name, b"")
        remove(name)
