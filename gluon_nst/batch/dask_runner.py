"""Chunks on Dask workers, which others started: `local_cluster` for one batch, `gluon_nst.launch` for many.

Only paths, numbers and the recipe go over the wire, never pixels, and every task is pinned to a worker: which
one, is not left to Dask (see `gluon_nst.batch.dispatch`). At most two chunks per worker are in flight, so the
scheduler's memory does not grow with the collection.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import queue
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker

import gluon_nst.worker.departure as departure
from gluon_nst.batch.attendant import attend
from gluon_nst.batch.outcomes import ChunkReport
from gluon_nst.batch.peers import Peers
from gluon_nst.batch.runner import Broken, Checked, Event, Gone, Lost, Ready, Reported, Unready, take_events
from gluon_nst.batch.settings import WorkSettings
from gluon_nst.jobs import Job
from gluon_nst.worker import run_chunk
from gluon_nst.worker.readiness import Readiness, prove_ready

__all__ = ["DaskRunner"]

# Fetching a result takes a round trip to its worker; several may wait for workers that just died.
_FETCHERS = 8
_FETCH_SECONDS = 60.0
# Workers that are spoken to at the same time when they come. One that hangs keeps its place until its proof is overdue,
# but keeps no result waiting.
_VISITS = 64
# A proof that takes longer than this failed: the tiny picture takes a second, loading MXNet and the network
# some more, from a cold network disk a minute or two.
_PROOF_SECONDS = 300.0
# A nanny ends its worker and starts another within 5; one that does not is out of reach with its worker.
_RESTART_SECONDS = 30.0
# Number of the task that proves a worker ready; those of chunks begin at 1.
_PROOF = 0


@dataclasses.dataclass(eq=False)
class _Member:
    """A worker process, from its coming to its going."""

    name: str
    address: str
    proved: bool = False
    tasks: dict[int, Any] = dataclasses.field(default_factory=dict)
    begun: dict[int, float] = dataclasses.field(default_factory=dict)

    @property
    def proving(self) -> bool:
        """Whether it is asked to prove ready."""
        return not self.proved or _PROOF in self.tasks


class DaskRunner:
    """Runs chunks on the workers of a Dask client, which stays the caller's to close.

    Parameters
    ----------
    client
        A connected client.
    grace
        Seconds that a worker told to leave has for the job in hand.
    """

    def __init__(self, client: Client, *, grace: float = 25.0) -> None:
        self._client, self._grace = client, grace
        self._inbox: queue.SimpleQueue[Callable[[], list[Event]]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="gluon-nst-fetch")
        self._visits: set[Future[None]] = set()
        self._places = asyncio.Semaphore(_VISITS)
        self._members: dict[str, _Member] = {}
        self._at: dict[str, _Member] = {}
        self._settings = WorkSettings()
        self._peers = Peers()
        self._job: Job | None = None
        self._come = 0

    # ---- what the batch asks for

    def start(self, job: Job, settings: WorkSettings) -> None:
        """Let all workers prove ready for jobs like this one, and watch who comes and goes."""
        self._job, self._settings = job, settings
        self._client.subscribe_topic("all", self._on_event)
        for address in self._client.scheduler_info(n_workers=-1)["workers"]:
            self._on_coming(address)

    def send(self, worker: str, number: int, jobs: Sequence[Job]) -> None:
        """Submit a chunk to a worker; if that has gone meanwhile, its `Gone` is under way."""
        member = self._members.get(worker)
        if member is not None:
            self._submit(member, number, run_chunk, list(jobs), self._settings)

    def check(self, worker: str) -> None:
        """Submit a proof of readiness."""
        member = self._members.get(worker)
        if member is not None:
            self._prove(member)

    def kill(self, worker: str) -> None:
        """End a worker process; its nanny starts another. Without a nanny it is left alone and never used again."""
        member = self._members.get(worker)
        if member is not None:
            self._threads.submit(self._restart, member)

    def recall(self, grace: float) -> None:
        """Tell all workers to begin nothing more of this run."""
        self._threads.submit(self._recall, grace)

    def expecting(self) -> bool:
        """Return whether a worker has yet to prove ready."""
        return any(not member.proved for member in self._members.values())

    def wait(self, seconds: float) -> list[Event]:
        """Return what has happened."""
        if self._client.status not in ("running", "connecting"):
            return [Lost("the Dask scheduler is lost")]
        events = [event for message in take_events(self._inbox, seconds) for event in message()]
        return events + self._overdue()

    def close(self) -> None:
        """Let go of the workers: cancel what is still there. The client stays open."""
        for visit in list(self._visits):
            visit.cancel()
        with contextlib.suppress(Exception):
            self._client.unsubscribe_topic("all")
            self._client.cancel([each for member in self._members.values() for each in member.tasks.values()])
        self._threads.shutdown(wait=False, cancel_futures=True)

    # ---- workers; from here on everything but the callbacks runs in the batch's own thread

    def _on_event(self, event: tuple[float, Any]) -> None:
        """Pass on who comes and goes. Called by the client's thread."""
        what = event[1]
        if isinstance(what, dict) and what.get("action") == "add-worker":
            self._inbox.put(lambda: self._on_coming(what["worker"]))
        elif isinstance(what, dict) and what.get("action") == "remove-worker":
            self._inbox.put(lambda: self._on_going(what["worker"], expected=bool(what.get("expected"))))

    def _on_coming(self, address: str) -> list[Event]:
        if address not in self._at:
            self._come += 1
            member = _Member(f"{address}#{self._come}", address)
            self._members[member.name] = self._at[address] = member
            member.begun[_PROOF] = time.monotonic()
            loop = self._client.loop.asyncio_loop
            visit = asyncio.run_coroutine_threadsafe(self._attend(member), loop)
            self._visits.add(visit)
            visit.add_done_callback(self._visits.discard)
        return []

    def _on_going(self, address: str, *, expected: bool) -> list[Event]:
        member = self._at.get(address)
        return [] if member is None else self._drop(member, expected=expected)

    def _drop(self, member: _Member, *, expected: bool) -> list[Event]:
        """Forget a worker. What was pinned to it would wait for ever, so it is cancelled."""
        if self._members.pop(member.name, None) is None:
            return []
        if self._at.get(member.address) is member:
            del self._at[member.address]
        tasks, member.tasks = list(member.tasks.values()), {}
        if tasks:
            self._client.cancel(tasks, force=True)
        return [Gone(member.name, expected)]

    async def _attend(self, member: _Member) -> None:
        """Reach a worker that came, before it is sent any task: one that cannot load a task dies of it.

        Runs in the client's loop, where its methods return what can be awaited.
        """
        try:
            async with self._places:
                run = self._client.run(attend, self._grace, workers=[member.address], on_error="return")
                answers = await asyncio.wait_for(run, _PROOF_SECONDS)
            answer = answers.get(member.address, "it was gone before it answered")
        except Exception as error:
            answer = error
        self._inbox.put(lambda: self._on_attended(member, answer))

    def _on_attended(self, member: _Member, answer: Any) -> list[Event]:
        if member.proved or member.name not in self._members:
            return []  # given up before
        if answer is not None:
            return self._on_proof(member, answer)
        self._prove(member)
        return []

    def _prove(self, member: _Member) -> None:
        self._submit(member, _PROOF, prove_ready, self._job)

    def _restart(self, member: _Member) -> None:
        try:
            ended = self._client.restart_workers(
                [member.address], timeout=_RESTART_SECONDS, raise_for_error=False
            )
        except Exception:
            ended = {}  # no nanny: nobody can end that process from here
        if ended.get(member.address) != "OK":
            self._inbox.put(lambda: self._drop(member, expected=False))

    def _recall(self, grace: float) -> None:
        with contextlib.suppress(Exception):
            self._client.run(departure.recall, self._settings.run, grace, on_error="ignore")

    # ---- tasks

    def _submit(self, member: _Member, number: int, function: Callable[..., Any], *arguments: Any) -> None:
        future = self._client.submit(
            function,
            *arguments,
            pure=False,
            retries=0,
            workers=[member.address],
            key=f"gluon-nst-{uuid.uuid4().hex}",
        )
        member.tasks[number] = future
        member.begun[number] = time.monotonic()
        future.add_done_callback(lambda done: self._threads.submit(self._fetch, member, number, done))

    def _fetch(self, member: _Member, number: int, future: Any) -> None:
        """Wait for what a task gave, and pass it on. Called by a fetching thread."""
        try:
            value = future.result(timeout=_FETCH_SECONDS)
        except BaseException as error:
            value = error
        self._inbox.put(lambda: self._on_result(member, number, future, value))

    def _on_result(self, member: _Member, number: int, future: Any, value: Any) -> list[Event]:
        if member.tasks.get(number) is not future:
            return []  # dropped before
        del member.tasks[number]
        if isinstance(value, KilledWorker):
            return self._drop(member, expected=False)
        if isinstance(value, CancelledError):
            return [Lost("the Dask scheduler is lost, and with it what was in flight")]
        return self._on_proof(member, value) if number == _PROOF else self._on_chunk(member, number, value)

    def _on_proof(self, member: _Member, value: Any) -> list[Event]:
        why = self._fault_in(value)
        if member.proved:
            return [Checked(member.name, not why, why)]
        member.proved = True
        return [Unready(member.name, why) if why else Ready(member.name, value)]

    def _fault_in(self, proof: Any) -> str:
        if not isinstance(proof, Readiness):
            return _told(proof)
        return self._peers.fault_of({"gluon_nst": proof.version, "mxnet": proof.mxnet})

    def _on_chunk(self, member: _Member, number: int, value: Any) -> list[Event]:
        if isinstance(value, ChunkReport):
            return [Reported(member.name, number, value)]
        return [Broken(member.name, number, _told(value))]

    def _overdue(self) -> list[Event]:
        """Give up proofs that do not come."""
        before = time.monotonic() - _PROOF_SECONDS
        late = [each for each in self._members.values() if each.proving and each.begun[_PROOF] < before]
        for member in late:
            member.tasks.pop(_PROOF, None)
        return [event for member in late for event in self._on_proof(member, "no answer")]


def _told(value: Any) -> str:
    return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
