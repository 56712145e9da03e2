"""The names that files give to VGG's convolutions, translated to ``convB_I.weight`` and ``convB_I.bias``.

Three ways are known:

======================  ===========================================================================
``conv3_1.weight``      this package's own, after the literature's names of the layers
``features.10.weight``  torchvision, timm, the zoo: a position among all layers; also ``10.weight``
``vgg0_conv4_weight``   the zoo's older files: a position among the convolutions
======================  ===========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from gluon_nst.errors import ParametersError
from gluon_nst.vgg_layers import CONVOLUTIONS, NETWORKS, block, channels

__all__ = ["FEATURE_INDICES", "check_shapes", "find_network", "rename", "take_convolutions", "weight_shape"]


def _indices(network: str) -> dict[str, int]:
    """Return each convolution's position in `features`: activations and poolings take positions as well."""
    names = CONVOLUTIONS[network]
    return {name: 2 * i + block(name) - 1 for i, name in enumerate(names)}


FEATURE_INDICES: dict[str, dict[str, int]] = {network: _indices(network) for network in NETWORKS}
"""For each network: convolution name to its position in the zoo's and torchvision's `features`."""


def _by_name(_: str, found: re.Match[str]) -> str:
    return f"conv{found['block']}_{found['number']}"


def _by_position(network: str, found: re.Match[str]) -> str | None:
    by_index = {index: name for name, index in FEATURE_INDICES[network].items()}
    return by_index.get(int(found["position"]))


def _by_count(network: str, found: re.Match[str]) -> str | None:
    names, count = CONVOLUTIONS[network], int(found["count"])
    return names[count] if count < len(names) else None


_KIND = r"(?P<kind>weight|bias)"
_WAYS: tuple[tuple[re.Pattern[str], Callable[[str, re.Match[str]], str | None]], ...] = (
    (re.compile(rf"conv(?P<block>\d)_(?P<number>\d)\.{_KIND}"), _by_name),
    (re.compile(rf"(?:(?:.*\.)?features\.)?(?P<position>\d+)\.{_KIND}"), _by_position),
    (re.compile(rf"(?:.*_)?conv(?P<count>\d+)_{_KIND}"), _by_count),
)


def _rename_one(network: str, name: str) -> str | None:
    for pattern, convolution in _WAYS:
        if found := pattern.fullmatch(name):
            layer = convolution(network, found)
            return layer and f"{layer}.{found['kind']}"
    return None


def weight_shape(network: str, convolution: str) -> tuple[int, int, int, int]:
    """Return the shape (out, in, 3, 3) of a convolution's weight."""
    names = CONVOLUTIONS[network]
    position = names.index(convolution)
    inputs = channels(names[position - 1]) if position else 3
    return channels(convolution), inputs, 3, 3


def rename(network: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays of the convolutions of `network`, in its order, by this package's names.

    Arrays of other layers (the classifier) are left out. Nothing is checked: see `check_shapes`.
    """
    named = {_rename_one(network, name): array for name, array in arrays.items()}
    wanted = (f"{layer}.{kind}" for layer in CONVOLUTIONS[network] for kind in ("weight", "bias"))
    return {name: named[name] for name in wanted if name in named}


def _layers(network: str, named: Iterable[str]) -> tuple[str, ...]:
    held = {name.partition(".")[0] for name in named}
    return tuple(layer for layer in CONVOLUTIONS[network] if layer in held)


def check_shapes(network: str, named: Mapping[str, NDArray[Any]], origin: str) -> None:
    """Check that `named` holds the first convolutions of `network`, whole and without a gap.

    Raises
    ------
    ParametersError
        If it does not; `origin` is the name used in the message.
    """
    layers = _layers(network, named)
    if not layers or layers != CONVOLUTIONS[network][: len(layers)]:
        missing = next(layer for layer in CONVOLUTIONS[network] if layer not in layers)
        raise ParametersError(f"{origin} is no {network}: it lacks {missing}; give a file with all layers.")
    for layer in layers:
        shape = weight_shape(network, layer)
        for name, expected in ((f"{layer}.weight", shape), (f"{layer}.bias", shape[:1])):
            found = named[name].shape if name in named else "missing"
            if found != expected:
                raise ParametersError(f"{origin} is no {network}: {name} is {found}, not {expected}.")
    _check_floats(named, origin)


def _check_floats(named: Mapping[str, NDArray[Any]], origin: str) -> None:
    for name, array in named.items():
        if array.dtype.kind != "f":
            raise ParametersError(f"{origin} holds {name} as {array.dtype}; give a file of floats.")


def _fits(network: str, arrays: Mapping[str, NDArray[Any]]) -> bool:
    named = rename(network, arrays)
    try:
        check_shapes(network, named, "")
    except ParametersError:
        return False
    return _count_convolutions(arrays) == len(named) // 2


def _count_convolutions(arrays: Mapping[str, NDArray[Any]]) -> int:
    return sum(array.ndim == 4 for array in arrays.values())


def find_network(arrays: Mapping[str, NDArray[Any]], origin: str) -> str:
    """Return the network whose convolutions `arrays` hold, in any of the known ways of naming.

    Raises
    ------
    ParametersError
        If they are of no known network, or end before the networks differ (at conv3_4); `origin` is the
        name used in the message.
    """
    found = [network for network in NETWORKS if _fits(network, arrays)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ParametersError(f"{origin} ends before {' and '.join(found)} differ; say which network it is.")
    raise ParametersError(_unknown(arrays, origin))


def take_convolutions(
    network: str, arrays: Mapping[str, NDArray[Any]], origin: str
) -> dict[str, NDArray[Any]]:
    """Return the convolutions of `network` from `arrays`, by this package's names, shapes checked.

    Raises
    ------
    ParametersError
        If `arrays` hold another network, or none; `origin` is the name used in the message.
    """
    if _fits(network, arrays):
        return rename(network, arrays)
    others = [other for other in NETWORKS if _fits(other, arrays)]
    if others:
        raise ParametersError(
            f"{origin} holds {others[0]}, not {network}; give parameters of {network} or choose {others[0]}."
        )
    named = rename(network, arrays)
    if named:
        check_shapes(network, named, origin)
    raise ParametersError(_unknown(arrays, origin))


def _unknown(arrays: Mapping[str, NDArray[Any]], origin: str) -> str:
    if any("running_mean" in name for name in arrays):
        return f"{origin} is a network with batch normalization; give plain {' or '.join(NETWORKS)}."
    known = " or ".join(f"{network} ({len(CONVOLUTIONS[network])} of them)" for network in NETWORKS)
    return (
        f"{origin} holds {_count_convolutions(arrays)} convolutions whose names or shapes are not known; "
        f"give {known}."
    )
