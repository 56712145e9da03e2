"""One case of `gluon-nst bench`, measured in the process that calls this; importing it loads MXNet.

Meant to be called through `gluon_nst.probe`: peak memory and environment are those of a process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from gluon_nst import backend
from gluon_nst.bench.peak import peak_memory
from gluon_nst.bench.roofline import Roofline
from gluon_nst.chunk import Pixels
from gluon_nst.progress import Progress
from gluon_nst.recipe import make_recipe
from gluon_nst.stylizer import Stylizer

__all__ = ["Watch", "measure"]


def measure(
    recipe: Mapping[str, Any], height: int, width: int, case: Mapping[str, Any], device: str
) -> dict[str, Any]:
    """Measure one case.

    Parameters
    ----------
    recipe
        `gluon_nst.recipe.recipe_mapping` of a recipe of one scale.
    height, width
        Shape of the pictures.
    case
        "precision", "together", "steps" and "repeats" of a `gluon_nst.bench.Case`.
    device
        "auto", "cpu" or "gpu:K".

    Returns
    -------
    dict
        "device" and "precision" as they were used; "mxnet", its version; "threads"; "seconds" a step of the
        chunk and "roofline" in operations a second, one for each repeat; "peak_memory" in bytes.
    """
    every, repeats = case["steps"], case["repeats"]
    chosen = make_recipe({**recipe, "steps": every * (repeats + 1)})  # the first ones warm up
    stylizer = Stylizer(chosen, device=device, precision=case["precision"])
    roofline = Roofline(stylizer.precision, backend.context(stylizer.device))
    watch = Watch(every, roofline.measure)
    contents = [picture(height, width, number) for number in range(case["together"])]
    with backend.translate_errors():
        stylizer.stylize(contents, [picture(height, width, -1)], observe=watch, every=every)
    return {
        "device": stylizer.device,
        "precision": stylizer.precision,
        "mxnet": backend.version(),
        "threads": int(os.environ["OMP_NUM_THREADS"]),
        "seconds": watch.seconds,
        "roofline": watch.roofline,
        "peak_memory": watch.peak_memory,
    }


class Watch:
    """An observer that times the steps between two readings, and measures the roofline while they rest.

    Attributes
    ----------
    seconds, roofline
        One for each `every` steps after the first ones.
    peak_memory
        Bytes, of the first steps: before anything else was run.
    """

    def __init__(self, every: int, roofline: Callable[[], float]) -> None:
        self.seconds: list[float] = []
        self.roofline: list[float] = []
        self.peak_memory = 0
        self._every, self._measure = every, roofline
        self._began = 0.0

    def __call__(self, progress: Progress, pictures: Callable[[], list[Any]]) -> None:
        """Take note that a reading was made."""
        now = time.perf_counter()
        if progress.step % self._every:
            return  # the first step is always read
        if self.peak_memory:
            self.seconds.append((now - self._began) / self._every)
            self.roofline.append(self._measure())
        else:
            self.peak_memory = peak_memory()
            self._measure()
        self._began = time.perf_counter()


def picture(height: int, width: int, number: int) -> Pixels:
    """Return a picture (height, width, 3): patches of color with soft borders and some grain, by its number."""
    generator = np.random.default_rng(number + 1)
    patches = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    soft = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    grainy: Pixels = np.clip(soft + generator.normal(0, 8, soft.shape), 0, 255).astype(np.uint8)
    return grainy
