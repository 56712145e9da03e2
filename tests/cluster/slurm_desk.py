"""From where a person submits batches to the tests' Slurm: a folder, an environment, and a driver of fake GPUs."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.batch.field import (
    ROOT,
    batch_command,
    check_outputs,
    environment,
    journal_of,
    output_names,
    records,
    statuses,
    wait_until,
)
from tests.cluster.local_slurm import LocalSlurm

COUNT = 60
SLOWLY = {"STAND_IN_SECONDS": "0.3"}
SBATCH = ROOT / "cluster/slurm/gluon_nst.sbatch"
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

# libcuda with as many GPUs as Slurm gave.
GPUS = r"""
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned f) { return 0; }
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
int cuDeviceGetCount(int *n) {
  const char *v = getenv("CUDA_VISIBLE_DEVICES");
  *n = v && *v ? 1 : 0;
  for (; v && *v; v++) *n += *v == ',';
  return 0;
}
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *name, int size, int d) { strncpy(name, "fake", size); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = 8; return 0; }
int cuDeviceTotalMem_v2(size_t *size, int d) { *size = 1UL << 34; return 0; }
int cuDeviceGetPCIBusId(char *id, int size, int d) { strncpy(id, "0000:00:00.0", size); return 0; }
"""


class Desk:
    """From where a person submits batches: a folder, and an environment."""

    def __init__(self, slurm: LocalSlurm, folder: Path, **more: str) -> None:
        self.slurm, self.folder, self.output = slurm, folder, folder / "out"
        venv = {"PATH": f"{Path(sys.executable).parent}:{slurm.environment['PATH']}"}
        self.environment = environment(**slurm.environment | venv | more)

    def sbatch(self, *arguments: object, options: tuple[str, ...] = ()) -> str:
        """Submit a batch of small PNGs; return the job's number."""
        words = batch_command(*arguments)[4:]
        size = (
            "--nodes=2",
            "--gpus-per-node=2",
            "--cpus-per-task=2",
            "--mem=2G",
            "--time=20",
            "--output=job.log",
        )
        command = ("sbatch", "--parsable", *size, *options, SBATCH, *words)
        return self.slurm.run(*command, cwd=self.folder, **self.environment).strip()

    def log(self) -> str:
        """Return what the job said."""
        path = self.folder / "job.log"
        return path.read_text() if path.exists() else ""

    def end(self, job: str, state: str, seconds: float = 120.0) -> dict[str, str]:
        """Wait for a job's end; return what Slurm knows of it."""
        assert self.slurm.wait_for(job, *OVER, seconds=seconds) == state, self.log()
        return self.slurm.job(job)

    def under_way(self, count: int = 4) -> None:
        """Wait until some are done."""
        wait_until(lambda: records(self.output) >= count)

    def all_done_once(self, count: int = COUNT) -> None:
        """Nothing is lost, nothing doubled, nothing left behind."""
        check_outputs(self.output, output_names(range(count)))
        assert statuses(self.output) == {"done": count}
        assert len(journal_of(self.output)) == count
        assert all(record["attempts"] == 1 for record in journal_of(self.output))
