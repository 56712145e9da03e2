"""A judge of pictures: by VGG16, which no recipe of VGG19 optimises, and by pixels.

Every figure is a distance or noise: lower is better. Distances to the style are taken against the style image at
the size that the default recipe gives it: the longer side is the picture's.

- S1, S2, S4: mean over five layers of VGG16 of the relative squared difference of Gram matrices, the pictures
  seen at full size, at a half and at a quarter of it.
- SWF: sliced Wasserstein distance of the same layers' feature vectors at full size (Heitz et al. 2021), relative to
  the spread of the style's. It sees whole distributions, where a Gram matrix sees second moments.
- SWP: sliced Wasserstein distance of 7x7 patches of color (Karras et al. 2018), grey levels, mean over full, half and
  quarter size. No network is asked.
- C1, C2: distance to the content, relative squared difference of VGG16's relu4_3 at full and half size.
- LPIPS: distance to the content (Zhang et al. 2018, VGG, version 0.1); NaN where the weights of the PyPI package
  `lpips` are not at hand (`pip install --no-deps lpips`; nothing of it is imported).
- noise: mean |high-pass| (3x3), grey levels; flat: the same where the content is flat.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np

from gluon_nst import backend
from gluon_nst.features import VGGFeatures
from gluon_nst.images.geometry import fit_longer_side, resize
from gluon_nst.parameters import load_parameters
from gluon_nst.parameters.torch_file import read_torch
from gluon_nst.preprocessing import PIXEL_UNITS, preprocess

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")  # those of LPIPS
CONTENT_LAYER = "relu4_3"
DIVISORS = (1, 2, 4)
NAMES = ("S1", "S2", "S4", "SWF", "SWP", "C1", "C2", "LPIPS", "noise", "flat")
FLAT = 3  # grey levels of local variation (9x9) below which a place of the content counts as flat
PATCH = 7  # pixels; Karras et al. 2018, section 5
DIRECTIONS = 128  # random directions of a sliced distance: twice as many moved none by more than 1 %
SAMPLES = 16384  # vectors at most, and quantiles, of a sliced distance
SEED = 0


class Judge:
    """Judges pictures of one shape that were made of one content and one style.

    Parameters
    ----------
    content, style
        Pictures as read, (H, W, 3) uint8.
    shape
        (height, width) of the pictures to come.
    """

    def __init__(self, content, style, shape):
        self._content = resize(content, *shape)
        self._shapes = [(shape[0] // divisor, shape[1] // divisor) for divisor in DIVISORS]
        self._styles = [
            resize(style, *fit_longer_side(*style.shape[:2], max(smaller))) for smaller in self._shapes
        ]
        seen = [features(each) for each in self._styles]
        self._grams = [grams(maps) for maps in seen]
        self._vectors = {layer: sample(columns(maps)) for layer, maps in seen[0].items()}
        self._patches = [sample(patches(each)) for each in self._styles]
        self._contents = [features(resize(content, *smaller)) for smaller in self._shapes[:2]]

    def figures(self, picture):
        """Return name -> figure, in the order of `NAMES`, of a picture (H, W, 3) uint8."""
        pictures = [resize(picture, *shape) for shape in self._shapes]
        seen = [features(each) for each in pictures]
        values = [
            np.mean([relative(made, wanted[layer]) for layer, made in grams(maps).items()])
            for maps, wanted in zip(seen, self._grams, strict=True)
        ]
        values += [self._feature_distance(seen[0]), self._patch_distance(pictures)]
        values += [
            relative(maps[CONTENT_LAYER], wanted[CONTENT_LAYER])
            for maps, wanted in zip(seen, self._contents, strict=False)
        ]
        values += [lpips(seen[0], self._contents[0]), *fine_noise(picture, self._content)]
        return dict(zip(NAMES, map(float, values), strict=True))

    def _feature_distance(self, maps):
        return np.mean(
            [sliced_distance(sample(columns(maps[layer])), self._vectors[layer])[1] for layer in LAYERS]
        )

    def _patch_distance(self, pictures):
        return np.mean(
            [
                sliced_distance(sample(patches(picture)), wanted)[0]
                for picture, wanted in zip(pictures, self._patches, strict=True)
            ]
        )


@functools.lru_cache(maxsize=1)
def network():
    """Return torchvision's VGG16, with zero padding as it was trained, and its context."""
    context = backend.context("cpu")
    return VGGFeatures(
        load_parameters("bundled", "vgg16").arrays, LAYERS, network="vgg16", pooling="max",
        padding="zero", units=PIXEL_UNITS["imagenet"], context=context,
    ), context  # fmt: skip


def features(picture):
    """Return layer -> (C, h, w) of a picture."""
    vgg, context = network()
    maps = vgg.extract(preprocess([picture], PIXEL_UNITS["imagenet"], context))
    return {layer: values.asnumpy()[0] for layer, values in maps.items()}


def columns(maps):
    """Return maps (C, h, w) as vectors (C, h*w)."""
    return maps.reshape(maps.shape[0], -1)


def grams(maps):
    return {layer: columns(each) @ columns(each).T / columns(each).shape[1] for layer, each in maps.items()}


def relative(values, target):
    return float(((values - target) ** 2).sum() / (target**2).sum())


def patches(picture):
    """Return all patches of a picture as vectors (3 * PATCH^2, count)."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, (PATCH, PATCH), axis=(0, 1))
    return windows.reshape(-1, 3 * PATCH * PATCH).T


def sample(vectors):
    """Return at most `SAMPLES` of the vectors (dimension, count), the same places each time."""
    count = vectors.shape[1]
    if count > SAMPLES:
        vectors = vectors[:, np.random.default_rng(SEED).choice(count, SAMPLES, replace=False)]
    return vectors.astype(np.float32)


def sliced_distance(vectors, target):
    """Return the mean Wasserstein-1 distance along random directions, and the same over the target's spread.

    The spread is the mean absolute deviation from the median, along the same direction.
    """
    directions = np.random.default_rng(SEED).standard_normal((DIRECTIONS, vectors.shape[0]))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    made, wanted = quantiles(directions @ vectors), quantiles(directions @ target)
    distances = np.abs(made - wanted).mean(axis=1)
    spreads = np.abs(wanted - np.median(wanted, axis=1, keepdims=True)).mean(axis=1)
    return distances.mean(), distances.mean() / spreads.mean()


def quantiles(values):
    """Return `SAMPLES` quantiles of each row."""
    ordered = np.sort(values, axis=1)
    at = (np.arange(SAMPLES) + 0.5) / SAMPLES * ordered.shape[1] - 0.5
    low = np.clip(np.floor(at).astype(int), 0, ordered.shape[1] - 1)
    high = np.minimum(low + 1, ordered.shape[1] - 1)
    share = (at - low).clip(0, 1).astype(np.float32)
    return ordered[:, low] * (1 - share) + ordered[:, high] * share


@functools.lru_cache(maxsize=1)
def lpips_weights():
    """Return the weights of the five layers' channels, (C,) each; None where the package is not installed."""
    spec = importlib.util.find_spec("lpips")  # a package is found without being run
    if spec is None or not spec.submodule_search_locations:
        return None
    tensors = read_torch(Path(spec.submodule_search_locations[0]) / "weights" / "v0.1" / "vgg.pth")
    return [tensors[f"lin{number}.model.1.weight"].ravel() for number in range(len(LAYERS))]


def lpips(made, wanted):
    """Return LPIPS of two pictures by their features."""
    weights = lpips_weights()
    if weights is None:
        return float("nan")
    return sum(
        float(weight @ ((unit(columns(made[layer])) - unit(columns(wanted[layer]))) ** 2).mean(axis=1))
        for layer, weight in zip(LAYERS, weights, strict=True)
    )


def unit(vectors):
    return vectors / (np.sqrt((vectors**2).sum(axis=0)) + 1e-10)  # the package's epsilon


def box(plane, side):
    """Mean over a square around each pixel."""
    padded = np.pad(plane, side // 2, mode="reflect")
    sums = np.cumsum(np.cumsum(np.pad(padded, ((1, 0), (1, 0))), 0), 1)
    return (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) / side**2


def fine_noise(picture, content):
    """Return mean |high-pass| of a picture, everywhere and where the content, of the same shape, is flat."""
    grey, plain = (each.astype(float).mean(axis=2) for each in (picture, content))
    high_pass = np.abs(grey - box(grey, 3))
    flat = box(np.abs(plain - box(plain, 9)), 9) < FLAT
    return high_pass.mean(), high_pass[flat].mean() if flat.any() else float("nan")


def heading(*more):
    """Return the first two lines of a Markdown table of figures, with more columns behind them."""
    names = (*NAMES, *more)
    return f"| {' | '.join(f'{name:>5}' for name in names)} |\n|{'---|' * len(names)}"


def row(figures, *more):
    """Return a line of such a table."""
    return "| " + " | ".join([*(f"{figures[name]:5.3g}" for name in NAMES), *map(str, more)]) + " |"
