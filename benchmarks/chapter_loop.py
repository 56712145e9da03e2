"""The loop of the Gluon chapter on style transfer (the recipe `d2l`), written out as the chapter does it.

A network of the model zoo's layers, run one by one and eagerly; autograd through network and losses alike, and for
the network's own parameters too, since their `grad_req` is left alone; a Gluon Trainer with Adam.

MXNet is imported without `gluon_nst`, which would set the number of threads: its default environment is measured.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping

import numpy as np

# What MXNet 1.9.1 looks up while it is imported, and numpy 1.24 took away.
for _name in ("bool", "int", "float", "object", "str", "complex"):
    if _name not in np.__dict__:
        setattr(np, _name, getattr(builtins, _name))

import mxnet as mx  # noqa: E402
from mxnet import autograd, gluon, nd  # noqa: E402
from mxnet.gluon import nn  # noqa: E402
from mxnet.gluon.model_zoo import vision  # noqa: E402

STYLE_LAYERS = (0, 5, 10, 19, 28)
CONTENT_LAYERS = (25,)
CONTENT_WEIGHT, STYLE_WEIGHT, TV_WEIGHT = 1.0, 1e3, 10.0
LEARNING_RATE = 0.01

# Of ImageNet's training set, as the zoo has it.
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class GeneratedImage(nn.Block):
    """The image as the only parameter of a block."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = self.params.get("weight", shape=shape)

    def forward(self):
        return self.weight.data()


class ChapterLoop:
    """The chapter's network, targets, image and trainer for one pair of pictures.

    Parameters
    ----------
    arrays
        "convB_I.weight" and "convB_I.bias" of VGG19.
    content, style, start
        Pictures (H, W, 3) uint8 of one shape.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], content: np.ndarray, style: np.ndarray, start: np.ndarray
    ) -> None:
        self.net = truncated_network(arrays)
        self.content_targets, _ = self.features(preprocess(content))
        self.style_targets = [gram(maps) for maps in self.features(preprocess(style))[1]]
        self.generated = GeneratedImage((1, 3, *content.shape[:2]))
        self.generated.initialize()
        self.generated.weight.set_data(preprocess(start))
        self.trainer = gluon.Trainer(
            self.generated.collect_params(), "adam", {"learning_rate": LEARNING_RATE}
        )

    def features(self, image):
        """Return the outputs of the content layers and of the style layers."""
        contents, styles = [], []
        for index, layer in enumerate(self.net):
            image = layer(image)
            if index in STYLE_LAYERS:
                styles.append(image)
            if index in CONTENT_LAYERS:
                contents.append(image)
        return contents, styles

    def losses(self) -> dict[str, nd.NDArray]:
        """Return the weighted terms and their sum."""
        image = self.generated()
        contents, styles = self.features(image)
        content = [
            CONTENT_WEIGHT * (maps - target).square().mean()
            for maps, target in zip(contents, self.content_targets, strict=True)
        ]
        style = [
            STYLE_WEIGHT * (gram(maps) - target).square().mean()
            for maps, target in zip(styles, self.style_targets, strict=True)
        ]
        variation = TV_WEIGHT * total_variation(image)
        total = nd.add_n(*content, *style, variation)
        return {"content": nd.add_n(*content), "style": nd.add_n(*style), "tv": variation, "total": total}

    def step(self) -> None:
        """Do one step, and wait for it as the chapter does."""
        with autograd.record():
            total = self.losses()["total"]
        total.backward()
        self.trainer.step(1)
        nd.waitall()


def truncated_network(arrays: Mapping[str, np.ndarray]) -> nn.Sequential:
    """Return the zoo's VGG19 up to the deepest layer wanted, with these parameters."""
    zoo, net = vision.vgg19(), nn.Sequential()
    for index in range(max(STYLE_LAYERS + CONTENT_LAYERS) + 1):
        net.add(zoo.features[index])
    net.initialize()
    net(nd.zeros((1, 3, 32, 32)))  # shapes are known from here on
    convolutions = [layer for layer in net if isinstance(layer, nn.Conv2D)]
    weights = [name for name in arrays if name.endswith(".weight")]
    for layer, name in zip(convolutions, weights, strict=False):
        layer.weight.set_data(array(arrays[name]))
        layer.bias.set_data(array(arrays[name.replace("weight", "bias")]))
    return net


def preprocess(picture: np.ndarray) -> nd.NDArray:
    numbers = (picture / 255 - MEAN) / DEVIATION
    return array(numbers.transpose(2, 0, 1)[np.newaxis])


def array(numbers: np.ndarray) -> nd.NDArray:
    # `nd.array` itself looks for sparse arrays under a name that newer SciPys warn of.
    return mx.ndarray.ndarray.array(numbers.astype(np.float32))


def gram(maps):
    channels, positions = maps.shape[1], maps.size // maps.shape[1]
    flat = maps.reshape((channels, positions))
    return nd.dot(flat, flat.T) / (channels * positions)


def total_variation(image):
    rows = image[:, :, 1:, :] - image[:, :, :-1, :]
    columns = image[:, :, :, 1:] - image[:, :, :, :-1]
    return 0.5 * (rows.abs().mean() + columns.abs().mean())
