"""The memory of one process that stylizes photographs of many shapes, with and without `gluon_nst.primitives`.

python -m benchmarks.many_shapes                      the table of benchmarks/README.md (about 5 minutes on two cores)

Memory depends on no other program, so that a busy machine makes this slower and not wrong; the time does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from gluon_nst import backend
from gluon_nst.bench.measure import picture
from gluon_nst.machine import resident_memory
from gluon_nst.probe import call_apart
from gluon_nst.recipe_files import load_recipe
from gluon_nst.stylizer import Stylizer

TIMEOUT = 3600  # seconds


def measure(precision: str, size: int, shapes: int, steps: int, drops: bool) -> dict[str, Any]:
    """Stylize so many photographs, each 8 rows lower than the one before; return what this fresh process held."""
    if not drops:
        backend.drop_primitives = lambda library: False
    recipe = load_recipe("default", size=size, steps=steps, coarse_steps=steps, stop_below=0.0)
    stylizer = Stylizer(recipe, device="cpu", precision=precision)
    sizes, began = [], time.perf_counter()
    for number in range(shapes):
        stylizer.stylize([picture(size - 8 * number, size, number)], [picture(size, size, -1)])
        backend.release_memory(backend.mx.cpu())
        sizes.append(resident_memory())
    return {"bytes": sizes, "seconds": time.perf_counter() - began}


def row(precision: str, size: int, shapes: int, steps: int) -> str:
    case = (precision, size, shapes, steps)
    kept, left = (
        call_apart("benchmarks.many_shapes:measure", *case, drops, timeout=TIMEOUT) for drops in (False, True)
    )
    told = f"| {precision} | {size} | {shapes} |"
    if failure := kept.failure or left.failure:
        return f"{told} {failure} | | |"
    memory = (
        f"{each['bytes'][0] / 1e6:.0f} to {each['bytes'][-1] / 1e6:.0f}"
        for each in (kept.answer, left.answer)
    )
    return f"{told} {' | '.join(memory)} | {left.answer['seconds'] / kept.answer['seconds']:.2f} |"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs="+", default=[256, 512], help="longer sides")
    parser.add_argument("--shapes", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5, help="at each scale")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    given = parser.parse_args(words)
    print("| precision | size | shapes | kept, MB | let go of, MB | time |\n|---|---|---|---|---|---|")
    for precision in given.precision:
        for size in given.size:
            print(row(precision, size, given.shapes, given.steps), flush=True)


if __name__ == "__main__":
    main()
