"""The same optimization by hand in PyTorch: what a good user of it would write, in float32 or bfloat16.

Frozen parameters; the image, the losses' sums and Adam in float32; activations in place wherever nobody needs what was
there; no layout or type is changed but at the image and at the Gram matrices. One scale of `d2l` or `default`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as functional

from gluon_nst.machine import cpu_cores, cpu_quota, usable_cores
from gluon_nst.recipe import Recipe
from gluon_nst.vgg_layers import convolutions_up_to

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def use_all_cores() -> None:
    torch.set_num_threads(usable_cores(cpu_cores(), cpu_quota()))


class TorchTransfer:
    """Network, targets, image and optimizer for one pair of pictures.

    Parameters
    ----------
    arrays
        "convB_I.weight" and "convB_I.bias".
    recipe
        `d2l`, `default`, or one that takes no other kinds of losses.
    content, style, start
        Pictures (H, W, 3) uint8, the content as the content loss is to see it.
    dtype
        Of the network: torch.float32 or torch.bfloat16.
    channels_last
        Whether feature maps and weights lie in memory channel by channel or position by position.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        recipe: Recipe,
        content: np.ndarray,
        style: np.ndarray,
        start: np.ndarray,
        *,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        self.recipe, self.dtype = recipe, dtype
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.content_layers = {layer: weight for layer, weight in recipe.content_layers if weight}
        self.style_layers = {layer: weight for layer, weight in recipe.style_layers if weight}
        self.wanted = {*self.content_layers, *self.style_layers}
        self.convolutions = [
            (name, self._frozen(arrays[f"{name}.weight"]), torch.from_numpy(arrays[f"{name}.bias"].copy()).to(dtype))
            for name in convolutions_up_to(recipe.network, tuple(self.wanted))
        ]  # fmt: skip
        self._set_units()
        with torch.no_grad():
            maps = self.features(self.preprocess(content))
            self.content_targets = {layer: maps[layer].clone() for layer in self.content_layers}
            maps = self.features(self.preprocess(style))
            self.style_targets = {layer: self.gram(maps[layer]) for layer in self.style_layers}
        self.image = self.preprocess(start).requires_grad_()
        self.average = torch.zeros_like(self.image) if recipe.average else None
        self.adam = torch.optim.Adam(
            [self.image], recipe.learning_rate, (recipe.beta1, recipe.beta2), recipe.epsilon, fused=True
        )

    def _frozen(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.copy()).to(self.dtype, memory_format=self.layout)

    def _set_units(self) -> None:
        """Set what maps a pixel's share of full white to the image, and the image to the network's input."""
        mean, deviation = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        whitened = self.recipe.pixel_units == "imagenet"
        self.to_image = (mean, deviation) if whitened else (torch.zeros(1), torch.ones(1))
        self.to_network = None if whitened else (mean, deviation)
        self.low, self.high = ((white - self.to_image[0]) / self.to_image[1] for white in (0.0, 1.0))

    def preprocess(self, picture: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(picture.transpose(2, 0, 1)[np.newaxis].copy()).double() / 255
        return ((pixels - self.to_image[0]) / self.to_image[1]).float().contiguous(memory_format=self.layout)

    def features(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the layers wanted."""
        x = image if self.to_network is None else (image - self.to_network[0]) / self.to_network[1]
        x, maps, last = x.to(self.dtype), {}, self.convolutions[-1][0]
        for name, weight, bias in self.convolutions:
            if name.endswith("_1") and name != "conv1_1":
                x = functional.max_pool2d(x, 2)
            padding = 1
            if name == "conv1_1" and self.recipe.padding == "replicate":
                x, padding = functional.pad(x, (1, 1, 1, 1), mode="replicate"), 0
            x = maps[name] = functional.conv2d(x, weight, bias, padding=padding)
            if name == last and name in self.wanted:
                break
            x = maps[name.replace("conv", "relu")] = functional.relu(x, inplace=name not in self.wanted)
        return maps

    def gram(self, maps: torch.Tensor) -> torch.Tensor:
        channels, positions = maps.shape[1], maps.shape[2] * maps.shape[3]
        flat = maps.flatten(2)[0]  # a view in either layout
        divisor = channels * positions if self.recipe.gram == "chw" else positions
        return (flat @ flat.T).float() / divisor

    def losses(self) -> dict[str, torch.Tensor]:
        """Return the weighted terms and their sum."""
        maps, recipe = self.features(self.image), self.recipe
        content = recipe.content_weight * sum(
            weight * distance(maps[layer], self.content_targets[layer], recipe.content_loss)
            for layer, weight in self.content_layers.items()
        )
        style = recipe.style_weight * sum(
            weight * distance(self.gram(maps[layer]), self.style_targets[layer], recipe.style_loss)
            for layer, weight in self.style_layers.items()
        )
        variation = recipe.tv_weight * total_variation(self.image, recipe.tv_loss)
        return {"content": content, "style": style, "tv": variation, "total": content + style + variation}

    def step(self) -> None:
        self.adam.zero_grad()
        self.losses()["total"].backward()
        self.adam.step()
        with torch.no_grad():
            if self.recipe.clip:
                self.image.clamp_(self.low, self.high)
            if self.average is not None:
                self.average.lerp_(self.image, 1 - self.recipe.average)


def distance(values: torch.Tensor, target: torch.Tensor, kind: str) -> torch.Tensor:
    error = functional.mse_loss(values, target)
    return error / target.float().square().mean() if kind == "relative" else error


def total_variation(image: torch.Tensor, kind: str) -> torch.Tensor:
    rows, columns = image.diff(dim=2), image.diff(dim=3)
    if kind == "absolute":
        return 0.5 * (rows.abs().mean() + columns.abs().mean())
    return rows.square().mean() + columns.square().mean()
