"""Nothing is lost, doubled or wrongly blamed while workers, scheduler and client are killed at random.

Real Dask processes, real files, the real command; only the engine is a stand-in of milliseconds.
"""

import contextlib
import random
import signal
import subprocess
import threading
import time

import psutil
import pytest

from tests.batch.field import (
    Cluster,
    batch_command,
    check_outputs,
    environment,
    failed_names,
    journal_of,
    statuses,
    write_photo,
    write_style,
)

RESUMABLE = 75


# A worker that is killed while it starts takes its nanny along; a cluster manager would then start another.
GROWN_UP = 3.0


class Killer(threading.Thread):
    """Kills a grown-up worker process at random every few seconds."""

    def __init__(self, cluster, seed, pause):
        super().__init__(daemon=True)
        self._cluster, self._random, self._pause = cluster, random.Random(seed), pause
        self._over = threading.Event()
        self.kills = 0

    def run(self):
        while not self._over.wait(self._random.uniform(*self._pause)):
            with contextlib.suppress(psutil.NoSuchProcess):
                born_before = time.time() - GROWN_UP
                workers = [
                    each for each in self._cluster.worker_processes() if each.create_time() < born_before
                ]
                if workers:
                    self._random.choice(workers).kill()
                    self.kills += 1

    def stop(self):
        self._over.set()
        self.join()


def records(output):
    journal = output / ".gluon-nst" / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def one_life(command, output, until, harm):
    """Run the command; once so many jobs are recorded do harm. Return the exit code."""
    client = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    told = []
    reader = threading.Thread(target=lambda: told.append(client.stdout.read()))
    reader.start()
    while client.poll() is None:
        if until is not None and records(output) >= until:
            harm(client)
            until = None
        time.sleep(0.05)
    reader.join()
    client.stdout.close()
    return client.returncode, told[0].decode()


@pytest.mark.parametrize(
    ("count", "pause", "seconds"),
    [
        pytest.param(600, (1, 2), "0.05", id="600"),
        pytest.param(10_000, (2, 5), "0.005", id="10000", marks=pytest.mark.full),
    ],
)
def test_whatever_dies_nothing_is_lost_or_doubled_or_wrongly_blamed(tmp_path, count, pause, seconds):
    poison = {count // 7 * each: mark for each, mark in enumerate(["poison"] * 3 + ["segfault"] * 2, 1)}
    for number in range(count):
        write_photo(tmp_path / "photos" / f"p{number:05}.png", poison.get(number, "good"), number)
    style, output = write_style(tmp_path / "style.png"), tmp_path / "out"
    harms = iter([("scheduler", 0.15), ("client", 0.35), ("scheduler", 0.55), ("client", 0.75), ("", 2)])
    with Cluster(tmp_path, STAND_IN_SECONDS=seconds) as cluster:
        killer = Killer(cluster, 1, pause)
        killer.start()
        try:
            for victim, part in harms:
                command = batch_command(
                    tmp_path / "photos", "--style", style, "-o", output, "--scheduler", cluster.address
                )

                def harm(client, victim=victim):
                    process = cluster.scheduler if victim == "scheduler" else client
                    process.send_signal(signal.SIGKILL)

                code, told = one_life(command, output, part * count, harm)
                expected = {"scheduler": RESUMABLE, "client": -signal.SIGKILL, "": 1}[victim]
                assert code == expected, told
                assert "Traceback" not in told
                if victim == "scheduler":
                    cluster.stop()
                    cluster.start()
        finally:
            killer.stop()
    names = {f"p{number:05}.png" for number in poison}
    assert failed_names(output) == dict.fromkeys(names, "poison")
    assert statuses(output) == {"done": count - len(poison), "poison": len(poison)}
    assert len(journal_of(output)) == count, "each job has one record, however often it was begun"
    check_outputs(output, {f"p{n:05}__style.png" for n in range(count) if n not in poison})
    assert killer.kills >= 2
