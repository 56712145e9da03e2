"""bfloat16 against float32 after a whole run, beside what a change of one level in the photograph does.

    python -m benchmarks.agreement [--size 256] [--recipe default] [--steps N]

makes one pair in float32, in bfloat16, and in float32 with 2 % of the photograph's values one level higher. For
each, the total loss as float32 evaluates it, and how far the picture is from the first, in grey levels.
"""

import argparse

import numpy as np

from gluon_nst import load_recipe
from gluon_nst.images.read import read_image
from gluon_nst.recipe_files import tailor
from gluon_nst.stylizer import Stylizer

PAIR = ("data/photos/temple.jpg", "data/styles/night_lanterns.jpg")
CHANGED = 0.02  # share of values


def total_loss(recipe, photograph, style, picture):
    """Evaluate the last scale's loss at a picture, in float32, by one step that starts from it."""
    once = recipe.replace(scales=1, steps=1, init="image", stop_below=0.0)
    found = Stylizer(once, device="cpu", precision="float32").stylize([photograph], [style], starts=[picture])
    return found[0].losses[0].total


def nudged(photograph):
    """Return the photograph with some values one level higher."""
    chosen = np.random.default_rng(0).random(photograph.shape) < CHANGED
    return np.where(chosen & (photograph < 255), photograph + 1, photograph).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    recipe = tailor(load_recipe(arguments.recipe), size=arguments.size, steps=arguments.steps)
    photograph, style = (read_image(path).pixels for path in PAIR)
    ways = [
        ("float32", "float32", photograph),
        ("bfloat16", "bfloat16", photograph),
        ("float32, photograph nudged", "float32", nudged(photograph)),
    ]
    print("| way | loss in float32 | mean difference of the pictures | seconds |\n|---|---|---|---|")
    first = None
    for name, precision, content in ways:
        made = Stylizer(recipe, device="cpu", precision=precision).stylize([content], [style])[0]
        first = made.pixels.astype(int) if first is None else first
        loss = total_loss(recipe, photograph, style, made.pixels)
        apart = np.abs(made.pixels - first).mean()
        print(f"| {name} | {loss:.4f} | {apart:.1f} | {made.seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
