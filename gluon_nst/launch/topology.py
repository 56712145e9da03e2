"""Which cores of this machine lie together, and which near a GPU, as Linux tells in /sys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["cores_near", "cores_together"]

_ROOT = Path("/")


def cores_together(cores: Iterable[int], root: Path = _ROOT) -> list[int]:
    """Return cores in an order in which neighbors share a memory node, and the two threads of one core follow.

    Parameters
    ----------
    cores
        Numbers of cores, such as the affinity of this process.
    root
        The directory that holds ``sys``. What it does not tell leaves the order of the numbers.
    """
    node = {
        core: number
        for number, folder in enumerate(
            sorted((root / "sys/devices/system/node").glob("node[0-9]*"), key=_number)
        )
        for core in _listed(folder / "cpulist")
    }
    return sorted(cores, key=lambda core: (node.get(core, 0), _first_sibling(core, root), core))


def cores_near(bus: str, root: Path = _ROOT) -> frozenset[int]:
    """Return the cores of a PCI device's memory node; none where that is not known.

    Parameters
    ----------
    bus
        Its address, such as "0000:3B:00.0".
    root
        The directory that holds ``sys``.
    """
    return (
        frozenset(_listed(root / "sys/bus/pci/devices" / bus.lower() / "local_cpulist"))
        if bus
        else frozenset()
    )


def _first_sibling(core: int, root: Path) -> int:
    siblings = _listed(root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return min(siblings, default=core)


def _number(folder: Path) -> int:
    return int(folder.name.removeprefix("node"))


def _listed(path: Path) -> list[int]:
    """Return the numbers in a list such as "0-3,8-11"; none if there is no such file."""
    try:
        parts = path.read_text().strip().split(",")
    except OSError:
        return []
    spans = [part.partition("-") for part in parts if part]
    return [core for first, _, last in spans for core in range(int(first), int(last or first) + 1)]
