"""How fast this machine stylizes: every case is measured in a process of its own.

Loads no MXNet itself; `gluon_nst.bench.measure` does, in those processes.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from gluon_nst import machine
from gluon_nst._version import __version__
from gluon_nst.bench.flops import schedule_steps, step_flops
from gluon_nst.errors import UsageError
from gluon_nst.probe import call_apart
from gluon_nst.pyramid import Scale, pyramid, working_shape
from gluon_nst.recipe import Recipe, recipe_mapping
from gluon_nst.recipe_files import tailor

__all__ = ["Case", "Figures", "bench", "cases", "describe_machine"]

# Width to height of the pictures that are made up: that of most cameras.
_ASPECT = (4, 3)

# A case that takes longer hangs, or is none to run unattended. Measured: 1.5 s for 512x384 on two cores.
_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Case:
    """What is measured: longer side in pixels, precision asked for, pictures together, steps a repeat, repeats."""

    size: int
    precision: str
    together: int
    steps: int
    repeats: int


@dataclass(frozen=True)
class Figures:
    """What was measured of a case.

    Attributes
    ----------
    case, height, width
        Which one; shape of the pictures.
    device, precision, threads
        As they were used.
    seconds
        Seconds a step of all pictures together, one for each repeat.
    flops
        Operations a second, by the median repeat; counted as `gluon_nst.bench.flops.step_flops` does.
    roofline
        Operations a second of a bare convolution, median, in between.
    peak_memory
        Bytes of host memory, parameters and libraries included.
    pairs_per_hour
        Foreseen for the whole schedule of the recipe, from its last scale; reading and writing left out.
    failure
        Why there are no figures; "" if there are.
    """

    case: Case
    height: int
    width: int
    device: str = ""
    precision: str = ""
    threads: int = 0
    seconds: Sequence[float] = ()
    flops: float = 0.0
    roofline: float = 0.0
    peak_memory: int = 0
    pairs_per_hour: float = 0.0
    failure: str = ""

    @property
    def share(self) -> float:
        """Part of the roofline that was reached."""
        return self.flops / self.roofline if self.roofline else 0.0

    def as_mapping(self) -> dict[str, Any]:
        """Return the figures as plain values, for JSON."""
        values = {**asdict(self.case), **asdict(self)}
        del values["case"], values["precision"]
        asked = {"precision_asked": self.case.precision, "precision": self.precision}
        typical = median(self.seconds) if self.seconds else None
        return {**values, **asked, "seconds_per_step": typical, "share_of_roofline": self.share}


def cases(
    sizes: Sequence[int], precisions: Sequence[str], together: Sequence[int], steps: int, repeats: int
) -> list[Case]:
    """Return every combination, sizes outermost."""
    return [
        Case(size, precision, count, steps, repeats)
        for size in sizes for precision in precisions for count in together
    ]  # fmt: skip


def bench(recipe: Recipe, wanted: Sequence[Case], device: str = "auto") -> Iterator[Figures]:
    """Measure cases one after the other, each in a fresh process; yield the figures as they come.

    Raises
    ------
    ImageSizeError, RecipeError
        If a size is too small for the network, or no size.
    UsageError
        If pictures are to go together that the recipe takes one by one.
    """
    laid_out = [(case, _scales(recipe, case)) for case in wanted]
    return (_figures(recipe, case, scales, device) for case, scales in laid_out)


def describe_machine() -> dict[str, Any]:
    """Return what the figures hang on: processor, cores, memory in bytes, versions."""
    return {
        "cpu": machine.cpu_model(),
        "instruction_sets": list(machine.instruction_sets()),
        "cores": machine.cpu_cores(),
        "core_quota": machine.cpu_quota(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "available_memory": machine.available_memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "gluon_nst": __version__,
        **{name: _version_of(name) for name in ("mxnet", "mxnet-cu112", "numpy")},
    }


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _scales(recipe: Recipe, case: Case) -> tuple[Scale, ...]:
    """Return the recipe's schedule for the pictures of a case."""
    if recipe.optimizer == "lbfgs" and case.together > 1:
        raise UsageError(
            f"{case.together} pictures together were asked for, but {recipe.name} runs L-BFGS, which takes one after "
            "the other. Use --together 1."
        )
    sized = tailor(recipe, size=case.size)
    width, height = (case.size * side for side in _ASPECT)
    return pyramid(sized, *working_shape(sized, height, width))


def _figures(recipe: Recipe, case: Case, scales: tuple[Scale, ...], device: str) -> Figures:
    height, width = scales[-1].height, scales[-1].width
    # The start makes no difference, but the one that is given would have to be given here. All steps are to be done.
    start = "content" if recipe.init == "image" else recipe.init
    plain = recipe.replace(shape=[height, width], scales=1, init=start, stop_below=0.0)
    reply = call_apart(
        "gluon_nst.bench.measure:measure", recipe_mapping(plain), height, width, asdict(case), device,
        timeout=_TIMEOUT,
    )  # fmt: skip
    if reply.failure:
        return Figures(case, height, width, failure=reply.failure)
    found = reply.answer
    seconds = median(found["seconds"])
    return Figures(
        case, height, width, found["device"], found["precision"], found["threads"], found["seconds"],
        flops=case.together * step_flops(recipe, height, width) / seconds,
        roofline=median(found["roofline"]),
        peak_memory=found["peak_memory"],
        pairs_per_hour=3600 * case.together / (seconds * schedule_steps(scales)),
    )  # fmt: skip
