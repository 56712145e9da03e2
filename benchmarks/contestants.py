"""Who runs against whom: each in a process of its own, waiting for its turn.

A contestant is told "go" on its standard input, does so many steps, and answers on its standard output with one line
of JSON: the seconds, and the most memory that it has had. Whatever else it has to say goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gluon_nst.bench.peak import peak_memory
from gluon_nst.parameters import load_parameters
from gluon_nst.recipe import Recipe
from gluon_nst.recipe_files import load_recipe

ROOT = Path(__file__).parent.parent
PHOTO, OTHER = ROOT / "data" / "photos" / "temple.jpg", ROOT / "data" / "photos" / "coffee.jpg"
STYLE = ROOT / "data" / "styles" / "night_lanterns.jpg"

# What would change the number of threads, or the code that runs: nobody is to inherit it.
_PREFIXES = ("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "MXNET_", "DNNL_", "ONEDNN_", "TORCH_")

Turn = Callable[[], None]
"""Called after every round of steps; comes back when the next one may begin."""


class Pair:
    """What every contestant gets: the recipe at one scale, and the pictures at its shape."""

    def __init__(self, recipe: str, height: int, width: int) -> None:
        self.recipe: Recipe = load_recipe(recipe).replace(
            shape=[height, width], scales=1, content_colors="own", stop_below=0.0
        )
        self.content, self.style, self.start = (read(path, height, width) for path in (PHOTO, STYLE, OTHER))

    def arrays(self) -> dict[str, np.ndarray]:
        return dict(load_parameters("bundled", self.recipe.network).arrays)


def read(path: Path, height: int, width: int) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))


def chapter(pair: Pair, every: int, together: int, turn: Turn) -> None:
    from benchmarks.chapter_loop import ChapterLoop

    loop = ChapterLoop(pair.arrays(), pair.content, pair.style, pair.content)
    while True:
        for _ in range(every):
            loop.step()
        turn()


def pytorch(pair: Pair, every: int, together: int, turn: Turn, dtype: str, *, channels_last: bool) -> None:
    import torch

    from benchmarks.torch_nst import TorchTransfer, use_all_cores

    use_all_cores()
    transfer = TorchTransfer(
        pair.arrays(), pair.recipe, pair.content, pair.style, pair.content,
        dtype=getattr(torch, dtype), channels_last=channels_last,
    )  # fmt: skip
    while True:
        for _ in range(every):
            transfer.step()
        turn()


def ours(pair: Pair, every: int, together: int, turn: Turn, precision: str) -> None:
    from gluon_nst.stylizer import Stylizer

    recipe = pair.recipe.replace(steps=1_000_000)
    stylizer = Stylizer(recipe, device="cpu", precision=precision)
    # Different pictures, so that nothing can be shared between them but the style.
    contents = [np.roll(pair.content, 8 * number, axis=1) for number in range(together)]

    def observe(progress: Any, pictures: Any) -> None:
        if progress.step % every == 0:  # not after the first step, which is always read
            turn()

    stylizer.stylize(contents, [pair.style], observe=observe, every=every)


def roofline(pair: Pair, every: int, together: int, turn: Turn, precision: str) -> None:
    from gluon_nst.backend import mx
    from gluon_nst.bench.roofline import Roofline

    stack = Roofline(precision, mx.cpu())
    while True:
        for _ in range(every):
            stack.measure()
        turn()


CONTESTANTS: dict[str, tuple[Callable[..., None], dict[str, Any], dict[str, str]]] = {
    "chapter": (chapter, {}, {}),
    "chapter, all cores": (chapter, {}, {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}),
    **{
        f"PyTorch {dtype}{', channels last' if last else ''}": (
            pytorch, {"dtype": dtype, "channels_last": last}, {},
        )
        for dtype in ("float32", "bfloat16") for last in (False, True)
    },
    **{f"gluon_nst {precision}": (ours, {"precision": precision}, {}) for precision in ("float32", "bfloat16")},
    **{f"roofline {precision}": (roofline, {"precision": precision}, {}) for precision in ("float32", "bfloat16")},
}  # fmt: skip
"""Name -> what it runs, with which settings, in which environment besides the bare one."""


class Contestant:
    """A process that does steps when it is told to; use it as a context.

    Parameters
    ----------
    name
        One of `CONTESTANTS`.
    height, width, together
        Shape of the pictures, and how many go through the network at once.
    every
        Steps of one round.
    recipe
        Name of the recipe.
    """

    def __init__(
        self, name: str, height: int, width: int, *, every: int = 1, together: int = 1, recipe: str = "d2l"
    ) -> None:
        self.name, self.every, self.together = name, every, together
        bare = {key: value for key, value in os.environ.items() if not key.startswith(_PREFIXES)}
        words = ("--height", height, "--width", width, "--every", every, "--together", together)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contestants", name, *map(str, words), "--recipe", recipe],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env={**bare, **CONTESTANTS[name][2]},
        )  # fmt: skip

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ready(self) -> dict[str, Any]:
        """Wait for the first round, which warms up, and return its answer."""
        return self._answer()

    def go(self) -> dict[str, Any]:
        """Do one round; return {"seconds" a step, "peak_memory" in bytes}."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None and self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            told = self._process.stderr.read().strip().splitlines() or ["it said nothing"]
            raise RuntimeError(f"{self.name}: {told[-1]}")
        return json.loads(line)


def answering(every: int, out: int) -> Turn:
    """Return what a contestant calls after each round: it answers, and waits to be told to go on."""
    began = time.perf_counter()

    def turn() -> None:
        nonlocal began
        seconds = (time.perf_counter() - began) / every
        answer = {"seconds": seconds, "peak_memory": peak_memory()}
        os.write(out, (json.dumps(answer) + "\n").encode())
        if not sys.stdin.readline():
            os._exit(0)
        began = time.perf_counter()

    return turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTESTANTS)
    for option in ("--height", "--width", "--every", "--together"):
        parser.add_argument(option, type=int, default=1)
    parser.add_argument("--recipe", default="d2l")
    given = parser.parse_args()
    out = os.dup(1)
    os.dup2(2, 1)  # so that nothing that a library prints is taken for an answer
    run, settings, _ = CONTESTANTS[given.name]
    pair = Pair(given.recipe, given.height, given.width)
    run(pair, given.every, given.together, answering(given.every, out), **settings)


if __name__ == "__main__":
    main()
