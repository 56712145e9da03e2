"""Judge settings of the default recipe by what it does not optimise (see `benchmarks.judge` for the figures).

    python -m benchmarks.house_recipe temple/night_lanterns cat/woodblock_waves \\
        --settings "size=256 min_size=64" "size=256 scales=1 steps=1000" --at 100 200

Each PHOTO/STYLE names two of the sample pictures; each settings argument is one set of KEY=VALUE. For each pair and
set, the picture is made and saved, and a row printed: the figures, then

- cost: steps counted in steps of the full size, which is what time goes with (steps x pixels);
- loss: the last total loss that was read;
- seconds of the optimisation, on a machine that may be doing other things.

With --at, the picture that the run would have ended with after so many steps of its last scale is judged as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from PIL import Image

from benchmarks import judge
from gluon_nst.images.read import read_image
from gluon_nst.preprocessing import PIXEL_UNITS, deprocess
from gluon_nst.pyramid import pyramid, working_shape
from gluon_nst.recipe_files import load_recipe, override
from gluon_nst.stylizer import Stylizer

DATA = Path(__file__).parent.parent / "data"


@dataclasses.dataclass
class Made:
    """A picture, and what it took."""

    pixels: object
    settings: str
    cost: float
    loss: float
    seconds: float


class Marks:
    """A tick that keeps the pictures of some steps of the last scale."""

    def __init__(self, recipe, scales, steps):
        self._recipe, self._scales, self._steps = recipe, scales, steps
        self.kept = []

    def __call__(self, fraction, take):
        if self._steps:
            checkpoint = take()
            if len(checkpoint.earlier) == len(self._scales) - 1 and checkpoint.snapshot.step in self._steps:
                self.kept.append((checkpoint.snapshot.step, self._picture(checkpoint.snapshot), checkpoint))

    def _picture(self, snapshot):
        image = snapshot.image
        if snapshot.average is not None:
            image = snapshot.average / (1 - self._recipe.average**snapshot.step)
        return deprocess(image, PIXEL_UNITS[self._recipe.pixel_units])[0]


def cost(scales, steps):
    """Return the steps taken at each of the scales, counted in steps of the last."""
    full = scales[-1].height * scales[-1].width
    return sum(count * scale.height * scale.width / full for count, scale in zip(steps, scales, strict=False))


def make(content, style, settings, precision, at):
    """Yield the pictures of a run: those of the steps asked for, then the last."""
    recipe = override(load_recipe(), settings.split())
    scales = pyramid(recipe, *working_shape(recipe, *content.shape[:2]))
    marks = Marks(recipe, scales, at)
    result = Stylizer(recipe, precision=precision).stylize([content], [style], tick=marks)[0]
    steps = {point.scale: point.step for point in result.losses}  # the last one of each scale
    before = [count for scale, count in steps.items() if scale < len(scales)]
    for step, pixels, checkpoint in marks.kept:
        loss = float(checkpoint.snapshot.history[-1][1]["total"][0])
        yield Made(
            pixels, f"{settings}, step {step}", cost(scales, [*before, step]), loss, checkpoint.seconds
        )
    yield Made(result.pixels, settings, cost(scales, steps.values()), result.losses[-1].total, result.seconds)


def judge_pair(pair, arguments):
    """Print a row for each picture of a pair, and return them as plain values."""
    photo, style = pair.split("/")
    content, painting = (
        read_image(DATA / folder / f"{name}.jpg").pixels
        for folder, name in (("photos", photo), ("styles", style))
    )
    rows, judges = [], {}
    for settings in arguments.settings:
        for made in make(content, painting, settings, arguments.precision, arguments.at):
            shape = made.pixels.shape[:2]
            if shape not in judges:
                judges[shape] = judge.Judge(content, painting, shape)
            figures = judges[shape].figures(made.pixels)
            name = f"{photo}-{style}-{len(rows) + 1:02d}.png"
            Image.fromarray(made.pixels).save(arguments.output / name)
            print(
                judge.row(figures, f"{made.cost:.0f}", f"{made.loss:.4f}", f"{made.seconds:.0f}", f"`{made.settings}`"),
                flush=True,
            )  # fmt: skip
            rows.append({**figures, **dataclasses.asdict(made), "pixels": name, "pair": pair})
    return rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", nargs="+", metavar="PHOTO/STYLE")
    parser.add_argument("--settings", nargs="+", required=True, metavar='"KEY=VALUE ..."')
    parser.add_argument("--at", nargs="+", type=int, default=[], metavar="STEP")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/house_recipe"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for pair in arguments.pairs:
        print(f"\n{pair}, {arguments.precision}\n")
        print(judge.heading("cost", "loss", "seconds", "settings"))
        rows += judge_pair(pair, arguments)
        (arguments.output / "figures.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
