"""What is freed is kept for the next step, also under what Dask's nannies set."""

import os
import subprocess
import sys

import pytest

# Takes and gives back a block of 48 MB in a thread twenty times, and tells how many pages the system had to hand
# out anew.
FAULTS = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from gluon_nst.allocator import keep_large_blocks, map_large_blocks
changed = keep_large_blocks() if "keep" in sys.argv else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(6 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pool = ThreadPoolExecutor(1)
pool.submit(faults).result()
print(changed, pool.submit(faults).result())
if "map" in sys.argv:
    map_large_blocks()
    print(pool.submit(faults).result())
    keep_large_blocks()
    pool.submit(faults).result()
    print(pool.submit(faults).result())
"""

PAGES = 20 * (48 << 20) // os.sysconf("SC_PAGE_SIZE")


def run(*arguments, **more):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments], env={**environment, **more}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    changed, *faults = done.stdout.split()
    return changed, *map(int, faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
@pytest.mark.parametrize("setting", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536"}], ids=["plain", "nanny"])
def test_large_blocks_are_kept(setting):
    _, without = run(**setting)
    changed, kept = run("keep", **setting)
    assert without > PAGES // 600, "else there is nothing to keep (huge pages take 512 times fewer faults)"
    assert changed == "True" and kept < without // 20


def test_a_choice_of_the_users_own_is_left_alone():
    assert run("keep", MALLOC_MMAP_THRESHOLD_="1048576")[0] == "False"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_blocks_come_from_the_system_until_they_are_kept_again():
    _, kept, mapped, kept_again = run("keep", "map")
    assert mapped > PAGES // 600 and max(kept, kept_again) < mapped // 20


def test_a_choice_of_the_users_own_outlives_a_new_shape():
    _, first, second, _ = run(
        "keep", "map", MALLOC_MMAP_THRESHOLD_="1073741824", MALLOC_TRIM_THRESHOLD_="2147483647"
    )
    assert second < first + PAGES // 20 + 1000
