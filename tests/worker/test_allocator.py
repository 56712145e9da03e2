"""What Dask's nannies do to malloc is undone in a worker."""

import os
import subprocess
import sys

import pytest

# Takes and gives back a block of 8 MB a hundred times, and tells how many pages the system had to hand out anew.
FAULTS = """
import resource, sys
import numpy as np
from gluon_nst.worker.allocator import restore_allocator
changed = restore_allocator() if "restore" in sys.argv else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.ones(1 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(changed, faults())
"""


def run(*arguments, **more):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments], env={**environment, **more}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    changed, faults = done.stdout.split()
    return changed, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_large_blocks_are_kept_again_after_a_nanny_forbade_it():
    setting = {"MALLOC_TRIM_THRESHOLD_": "65536"}
    _, forbidden = run(**setting)
    changed, restored = run("restore", **setting)
    pages = 100 * (8 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert forbidden > pages // 4, "else there is nothing to restore (huge pages take fewer faults)"
    assert changed == "True" and restored < forbidden // 20


def test_nothing_is_changed_where_nobody_set_anything():
    assert run("restore")[0] == "False"
