"""Which workers a machine has room for: pure arithmetic, and what a faked /sys tells."""

import pytest

from gluon_nst.launch.slots import cpu_slots, gpu_slots
from gluon_nst.launch.topology import cores_near, cores_together

NEAR_FIRST, NEAR_SECOND, UNKNOWN = frozenset(range(8)), frozenset(range(8, 16)), frozenset()


def cores_of(slots):
    return [slot.cores for slot in slots]


def visible(slots):
    return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots]


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_every_gpu_gets_a_worker_that_sees_it_alone_as_its_first(count):
    slots = gpu_slots("node", [UNKNOWN] * count, range(8))
    assert [slot.name for slot in slots] == [f"node-gpu{index}" for index in range(count)]
    assert visible(slots) == [str(index) for index in range(count)]
    assert {slot.device for slot in slots} <= {"gpu:0"}
    assert sorted(core for slot in slots for core in slot.cores) == (list(range(8)) if count else [])


def test_what_was_made_visible_is_kept_as_it_was_written():
    assert visible(gpu_slots("n", [UNKNOWN] * 2, range(4), visible="3, 1")) == ["3", "1"]
    assert [slot.name for slot in gpu_slots("n", [UNKNOWN] * 2, range(4), visible="3,1")] == [
        "n-gpu3",
        "n-gpu1",
    ]
    named = gpu_slots("n", [UNKNOWN] * 2, range(4), visible="GPU-8f3a,MIG-01")
    assert visible(named) == ["GPU-8f3a", "MIG-01"]
    assert [slot.name for slot in named] == ["n-gpu0", "n-gpu1"]


def test_entries_behind_one_that_cuda_cannot_use_are_left_out():
    # CUDA sees no device behind an entry that is none; its driver told of two.
    assert visible(gpu_slots("n", [UNKNOWN] * 2, range(4), visible="0,1,9,2")) == ["0", "1"]


def test_gpus_of_one_memory_node_share_its_cores():
    slots = gpu_slots("n", [NEAR_FIRST, NEAR_FIRST, NEAR_SECOND], range(16))
    assert cores_of(slots) == [(0, 1, 2, 3), (4, 5, 6, 7), tuple(range(8, 16))]
    assert [slot.environment["OMP_NUM_THREADS"] for slot in slots] == ["4", "4", "5"], "16 cores for three"


def test_no_core_is_used_that_was_not_granted():
    slots = gpu_slots("n", [NEAR_FIRST, NEAR_SECOND], [2, 3, 4])
    assert cores_of(slots) == [(2,), (3, 4)], "none is near the second: both share what there is"
    assert cores_of(cpu_slots("n", 2, [5, 7, 11])) == [(5,), (7, 11)]


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 16])
def test_workers_on_a_cpu_share_the_cores_without_a_remainder(workers):
    slots = cpu_slots("n", workers, range(16))
    assert sorted(core for slot in slots for core in slot.cores) == list(range(16))
    assert max(map(len, cores_of(slots))) - min(map(len, cores_of(slots))) <= 1
    assert {slot.device for slot in slots} == {"cpu"}
    assert set(visible(slots)) == {""}, "MXNet would take a GPU"


def test_more_workers_than_cores_use_all_of_them():
    slots = cpu_slots("n", 3, [0, 1])
    assert cores_of(slots) == [(0, 1)] * 3
    assert {slot.environment["OPENBLAS_NUM_THREADS"] for slot in slots} == {"1"}


def test_threads_heed_a_quota():
    assert {slot.environment["OMP_NUM_THREADS"] for slot in cpu_slots("n", 2, range(16), quota=4.0)} == {"2"}
    assert gpu_slots("n", [UNKNOWN], range(16), quota=2.5)[0].environment["OMP_NUM_THREADS"] == "3"


@pytest.fixture
def two_nodes(tmp_path):
    """Two memory nodes of two cores with two threads each, numbered as Linux mostly does it; two GPUs."""
    files = {
        "devices/system/node/node0/cpulist": "0-1,4-5\n",
        "devices/system/node/node1/cpulist": "2-3,6-7\n",
        "bus/pci/devices/0000:3b:00.0/local_cpulist": "2-3,6-7\n",
        "bus/pci/devices/0000:af:00.0/local_cpulist": "\n",
        **{f"devices/system/cpu/cpu{core}/topology/thread_siblings_list": f"{core % 4},{core % 4 + 4}\n"
           for core in range(8)},
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text(text)
    return tmp_path


def test_neighbors_are_threads_of_a_core_and_cores_of_a_node(two_nodes, tmp_path_factory):
    assert cores_together(range(8), two_nodes) == [0, 4, 1, 5, 2, 6, 3, 7]
    assert cores_together({6, 1, 2}, two_nodes) == [1, 2, 6]
    assert cores_together({6, 1, 2}, tmp_path_factory.mktemp("nothing")) == [1, 2, 6]


def test_the_cores_near_a_gpu_are_those_of_its_node(two_nodes):
    assert cores_near("0000:3B:00.0", two_nodes) == {2, 3, 6, 7}
    assert cores_near("0000:AF:00.0", two_nodes) == cores_near("0000:01:00.0", two_nodes) == frozenset()
    assert cores_near("", two_nodes) == frozenset(), "an older driver does not tell"
