"""A real Slurm on this machine: munged, slurmctld and a slurmd for each node, on the loopback interface only.

::

    python -m tests.cluster.local_slurm --nodes 2 --gpus 2 -- sinfo -N -o '%N %G %t'
    python -m tests.cluster.local_slurm -- bash        # a shell in which sbatch, srun and squeue work

It takes root, and Debian's packages slurm-wlm and munge. All it writes is in one temporary folder; it ends what it
started, and that only. GPUs are fakes: Slurm counts them and sets CUDA_VISIBLE_DEVICES, but there is no device.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
_START_SECONDS = 60.0  # it takes half a second on an idle machine
_SBIN = "/usr/sbin"  # not on everybody's PATH


@dataclasses.dataclass(frozen=True)
class Size:
    """What the cluster is made of.

    Attributes
    ----------
    nodes, cpus, gpus
        Number of nodes, and what each is said to have.
    grace
        Seconds between the notice and the end of a job that is preempted by one in the partition "urgent".
    notice
        Whether Slurm sends the job's own signal (`--signal`) as that notice, not SIGTERM to its steps.
    kill_wait
        Seconds between SIGTERM and SIGKILL.
    """

    nodes: int = 1
    cpus: int = 4
    gpus: int = 2
    grace: int = 20
    notice: bool = False
    kill_wait: int = 10


def missing() -> str:
    """Return why there can be no Slurm here; empty if there can."""
    absent = [each for each in (*DAEMONS, "sbatch") if not shutil.which(each, path=_search_path())]
    if absent:
        return f"{', '.join(absent)} not installed (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "a Slurm of its own takes root"


class LocalSlurm:
    """The cluster, from the beginning to the end of a context."""

    def __init__(self, size: Size | None = None) -> None:
        self.size = size or Size()
        self.folder = Path()
        self.slurmds: dict[str, subprocess.Popen[bytes]] = {}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> LocalSlurm:
        # Not below the tests' own folder: the path of a socket may have 107 letters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *details: object) -> None:
        self._stop()

    # ---- what it is used for

    @property
    def environment(self) -> dict[str, str]:
        """What Slurm's commands need to find this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _search_path()}

    def run(self, *words: object, check: bool = True, cwd: Path | None = None, **more: str) -> str:
        """Run one of Slurm's commands; return what it printed."""
        done = subprocess.run(
            [*map(str, words)],
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment, **more},
            timeout=120,
            cwd=cwd,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{words}: {done.stderr}{self.log()}"
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """Return what Slurm knows of a job."""
        told = self.run("scontrol", "--oneliner", "show", "job", number, check=False)
        return dict(re.findall(r"(\S+?)=(\S*)", told))

    def state(self, number: str) -> str:
        """Return the state of a job."""
        return self.job(number).get("JobState", "")

    def wait_for(self, number: str, *states: str, seconds: float = 120.0) -> str:
        """Wait until a job is in one of these states; return which."""
        until = time.monotonic() + seconds
        while (state := self.state(number)) not in states:
            assert time.monotonic() < until, f"job {number} is {state}, not {states}\n{self.log()}"
            time.sleep(0.1)
        return state

    def log(self) -> str:
        """Return the end of what the daemons said."""
        files = sorted((self.folder / "log").glob("*.log"))
        return "".join(f"--- {each.name}\n{each.read_text(errors='replace')[-1500:]}" for each in files)

    # ---- beginning and end

    def _start(self) -> None:
        for name in ("state", "log", "munge", *(f"spool.{node}" for node in self._nodes)):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self._write_settings()
        self._start_munge(key)
        self._daemon("slurmctld", "-D", "-i")
        for node in self._nodes:
            self.slurmds[node] = self._daemon("slurmd", "-D", "-N", node)
        self._wait(lambda: self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%t", check=False).count("idle"))

    @property
    def _nodes(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.size.nodes + 1)]

    def _start_munge(self, key: Path) -> None:
        self._daemon(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self._socket}",
            f"--pid-file={key}.pid", f"--log-file={key}.log", f"--seed-file={key}.seed", "--num-threads=2",
        )  # fmt: skip
        self._wait(lambda: self.size.nodes * self._socket.exists())

    @property
    def _socket(self) -> Path:
        return self.folder / "munge.socket"

    def _daemon(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log" / f"{words[0]}-said.log").open("ab") as log:
            process = subprocess.Popen(
                words,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._daemons.append(process)
        return process

    def _wait(self, count) -> None:
        """Wait until as many are counted as there are nodes."""
        until = time.monotonic() + _START_SECONDS
        while count() != self.size.nodes:
            ended = [each.args for each in self._daemons if each.poll() is not None]
            assert not ended and time.monotonic() < until, (
                f"Slurm did not start; ended: {ended}\n{self.log()}"
            )
            time.sleep(0.05)

    def _stop(self) -> None:
        """End jobs first, or a slurmd waits for them; then the daemons, last first."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self._cancel_all()
        for each in reversed(self._daemons):
            with contextlib.suppress(ProcessLookupError):
                each.send_signal(signal.SIGTERM)
        for each in reversed(self._daemons):
            try:
                each.wait(15)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _cancel_all(self) -> None:
        self.run("scancel", "--full", "--signal=KILL", "--user", "root", check=False)
        self.run("scancel", "--user", "root", check=False)
        whole = all(each.poll() is None for each in self.slurmds.values())
        # The jobs of a node that a test killed are never over.
        until = time.monotonic() + (self.size.kill_wait + 5 if whole else 2)
        while self.run("squeue", "-h").strip() and time.monotonic() < until:
            time.sleep(0.1)

    # ---- settings

    def _write_settings(self) -> None:
        (self.folder / "slurm.conf").write_text(self._settings())
        # Slurm wants a device file for each GPU; any character device will do.
        gpus = f"Name=gpu File=/dev/tty[0-{self.size.gpus - 1}]\n" if self.size.gpus else ""
        (self.folder / "gres.conf").write_text(gpus)
        # Slurm 22.05 cannot do without; with TaskPlugin=task/none and this ProctrackType nothing is done with it.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")

    def _settings(self) -> str:
        size, folder, host = self.size, self.folder, socket.gethostname().partition(".")[0]
        control, *ports = _free_ports(1 + size.nodes)
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={size.cpus} "
            f"RealMemory={_memory() // size.nodes} {f'Gres=gpu:{size.gpus}' if size.gpus else ''} State=UNKNOWN"
            for node, port in zip(self._nodes, ports, strict=True)
        )
        notice = "SlurmctldParameters=preempt_send_user_signal" if size.notice else ""
        return f"""\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
# The loopback interface only
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits for a second more than this; two minutes by default, five seconds at least
AuthInfo=socket={self._socket},cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait={size.kill_wait}
# Long enough to be asked about
MinJobAge=600
SlurmdTimeout=15
# More CPUs than there are
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{notice}
{"GresTypes=gpu" if size.gpus else ""}
{nodes}
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=off MaxTime=INFINITE DefMemPerCPU=64
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 PreemptMode=requeue GraceTime={size.grace} \
MaxTime=INFINITE DefaultTime=00:30:00 DefMemPerCPU=64
"""


def _search_path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{_SBIN}"


def _memory() -> int:
    """Return nine tenths of the memory in MB: Slurm holds a node against what it is said to have."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.9 / 2**20)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in probes:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in probes]


def main() -> int:
    """Run a command beside a Slurm of its own; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for field in dataclasses.fields(Size):
        kind = {"action": "store_true"} if field.type == "bool" else {"type": int, "default": field.default}
        parser.add_argument(f"--{field.name.replace('_', '-')}", **kind)
    parser.add_argument("command", nargs="+")
    given = vars(parser.parse_args())
    command = given.pop("command")
    if why := missing():
        sys.exit(f"no Slurm: {why}")
    with LocalSlurm(Size(**given)) as slurm:
        return subprocess.run(command, env={**os.environ, **slurm.environment}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
