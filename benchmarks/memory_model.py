"""The memory model against measurement: the peak of fresh processes that take some steps at one scale.

python -m benchmarks.memory_model                      the table of benchmarks/README.md (half an hour on two cores)
python -m benchmarks.memory_model --size 256 512       some of it

A peak depends on no other program, so that a busy machine makes this slower and not wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from gluon_nst.bench.measure import picture
from gluon_nst.bench.peak import peak_memory
from gluon_nst.memory_model import predicted_bytes
from gluon_nst.probe import call_apart
from gluon_nst.recipe import Recipe
from gluon_nst.recipe_files import load_recipe
from gluon_nst.stylizer import Stylizer

TIMEOUT = 3600  # seconds; four pictures of 1024 px took minutes on a busy machine


def one_scale(name: str, height: int, width: int, steps: int) -> Recipe:
    return load_recipe(name, shape=[height, width], scales=1, steps=steps, stop_below=0.0)


def measure(name: str, precision: str, height: int, width: int, count: int, steps: int) -> int:
    """Return the peak of this process, which should be a fresh one."""
    worker = Stylizer(one_scale(name, height, width, steps), device="cpu", precision=precision)
    worker.stylize([picture(height, width, number) for number in range(count)], [picture(height, width, -1)])
    return peak_memory()


def rows(given: argparse.Namespace) -> Iterator[str]:
    for precision in given.precision:
        for name in given.recipe:
            for size in given.size:
                for count in given.together:
                    yield row(name, precision, size * 3 // 4, size, count, given.steps)


def row(name: str, precision: str, height: int, width: int, count: int, steps: int) -> str:
    recipe = one_scale(name, height, width, steps)
    foretold = predicted_bytes(recipe, precision, height, width, count, at_once=1)
    case = (name, precision, height, width, count, steps)
    reply = call_apart("benchmarks.memory_model:measure", *case, timeout=TIMEOUT)
    told = f"| {name} | {precision} | {width}x{height} | {count} | {foretold / 1e6:.0f} |"
    if reply.failure:
        return f"{told} {reply.failure} | |"
    return f"{told} {reply.answer / 1e6:.0f} | {foretold / reply.answer - 1:+.0%} |"


def main(words: Sequence[str] | None = None) -> None:
    given = arguments(words)
    print("| recipe | precision | size | together | foretold, MB | measured, MB | off by |")
    print("|---|---|---|---|---|---|---|")
    for line in rows(given):
        print(line, flush=True)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs="+", default=[256, 512, 1024], help="longer sides, 4:3")
    parser.add_argument("--together", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--recipe", nargs="+", default=["default", "d2l"])
    parser.add_argument("--steps", type=int, default=20, help="after ten or twenty a peak grows little")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
