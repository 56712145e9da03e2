"""Judge settings of the default recipe by a network that no VGG19 recipe optimises.

    python benchmarks/house_recipe.py CONTENT STYLE [-o DIR] -- "size=384 tv_weight=1" "size=384 pooling=average" ...

Each argument is one set of KEY=VALUE settings. For each, the picture is made, and a line of figures printed:

- S1, S2, S4: distance to the style, mean over five layers of VGG16 of the relative squared difference of Gram
  matrices, seen at full size, at a half and at a quarter of it. Lower is closer.
- C1, C2: distance to the content, relative squared difference of VGG16's relu4_3, at full and half size.
- noise: mean |high-pass| (3x3) in grey levels; flat: the same where the content is flat.
- seconds of the optimisation.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from gluon_nst import backend, load_recipe
from gluon_nst.features import VGGFeatures
from gluon_nst.images.geometry import fit_longer_side, resize
from gluon_nst.images.read import read_image
from gluon_nst.parameters import load_parameters
from gluon_nst.preprocessing import PIXEL_UNITS, preprocess
from gluon_nst.recipe_files import override
from gluon_nst.stylizer import Stylizer

STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
CONTENT_LAYER = "relu4_3"
FLAT = 3  # grey levels of local variation (9x9) below which a place of the content counts as flat


class Judge:
    """Measures pictures with torchvision's VGG16."""

    def __init__(self):
        self.context = backend.context("cpu")
        self.network = VGGFeatures(
            load_parameters("bundled", "vgg16").arrays, STYLE_LAYERS, network="vgg16", pooling="max",
            padding="replicate", units=PIXEL_UNITS["imagenet"], context=self.context,
        )  # fmt: skip

    def features(self, picture):
        maps = self.network.extract(preprocess([picture], PIXEL_UNITS["imagenet"], self.context))
        return {layer: values.asnumpy()[0] for layer, values in maps.items()}

    def style_distance(self, picture, style, divisor):
        height, width = picture.shape[0] // divisor, picture.shape[1] // divisor
        made = self.features(resize(picture, height, width))
        wanted = self.features(resize(style, *fit_longer_side(*style.shape[:2], max(height, width))))
        return np.mean([relative(gram(made[layer]), gram(wanted[layer])) for layer in STYLE_LAYERS])

    def content_distance(self, picture, content, divisor):
        height, width = picture.shape[0] // divisor, picture.shape[1] // divisor
        made, wanted = (
            self.features(resize(each, height, width))[CONTENT_LAYER] for each in (picture, content)
        )
        return relative(made, wanted)


def gram(maps):
    flat = maps.reshape(maps.shape[0], -1)
    return flat @ flat.T / flat.shape[1]


def relative(values, target):
    return float(((values - target) ** 2).sum() / (target**2).sum())


def box(plane, side):
    """Mean over a square around each pixel."""
    padded = np.pad(plane, side // 2, mode="reflect")
    sums = np.cumsum(np.cumsum(np.pad(padded, ((1, 0), (1, 0))), 0), 1)
    return (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) / side**2


def fine_noise(picture, content):
    grey = picture.astype(float).mean(axis=2)
    plain = resize(content, *picture.shape[:2]).astype(float).mean(axis=2)
    high_pass = np.abs(grey - box(grey, 3))
    flat = box(np.abs(plain - box(plain, 9)), 9) < FLAT
    return high_pass.mean(), high_pass[flat].mean() if flat.any() else float("nan")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/house_recipe"))
    parser.add_argument("settings", nargs="+", metavar='"KEY=VALUE ..."')
    arguments = parser.parse_args()
    content, style = (read_image(path).pixels for path in (arguments.content, arguments.style))
    arguments.output.mkdir(parents=True, exist_ok=True)
    judge = Judge()
    print("|    S1 |    S2 |    S4 |    C1 |    C2 | noise |  flat | seconds | settings |")
    print("|---|---|---|---|---|---|---|---|---|")
    for number, settings in enumerate(arguments.settings, 1):
        made = Stylizer(override(load_recipe(), settings.split())).stylize([content], [style])[0]
        Image.fromarray(made.pixels).save(arguments.output / f"{number:02d}.png")
        figures = [judge.style_distance(made.pixels, style, divisor) for divisor in (1, 2, 4)]
        figures += [judge.content_distance(made.pixels, content, divisor) for divisor in (1, 2)]
        figures += fine_noise(made.pixels, content)
        row = " | ".join(f"{figure:5.2f}" for figure in figures)
        print(f"| {row} | {made.seconds:7.0f} | `{settings}` |", flush=True)


if __name__ == "__main__":
    main()
