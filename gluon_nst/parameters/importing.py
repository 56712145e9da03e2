"""Turn parameters of another program into a ``.params`` file of this one, with a record beside it.

The preprocessing that the parameters were trained with is folded into the first convolution, so that every
file expects the same: RGB over 255, less the ImageNet mean, over the ImageNet standard deviation.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.errors import OutputError, ParametersError, UsageError, did_you_mean
from gluon_nst.parameters.files import read_arrays
from gluon_nst.parameters.names import FEATURE_INDICES, find_network, take_convolutions
from gluon_nst.parameters.ndarray_file import serialize_ndarrays
from gluon_nst.parameters.record import PREPROCESSING, ParametersRecord, record_path, sha256_of
from gluon_nst.vgg_layers import NETWORKS

__all__ = ["DTYPES", "PREPROCESSINGS", "fold_caffe_preprocessing", "import_parameters"]

PREPROCESSINGS = ("auto", "rgb", "caffe-bgr")
DTYPES = ("float32", "float16")

# The zoo's and torchvision's preprocessing, of RGB in [0, 1].
_MEAN = np.array([0.485, 0.456, 0.406])
_STD = np.array([0.229, 0.224, 0.225])
# Subtracted from RGB in [0, 255] by Caffe's VGG of 2014 and by Keras, which then feed blue, green, red.
_CAFFE_MEAN = np.array([123.68, 116.779, 103.939])

# A .pth tells nothing of its preprocessing: Caffe's and torchvision's VGG bear the same names of layers. But
# the published files carry the start of their own SHA-256 in their names.
_KNOWN_FILES = {
    "d01eb7cb": "caffe-bgr",  # vgg19-d01eb7cb.pth, jcjohnson/pytorch-vgg
    "00b39a1b": "caffe-bgr",  # vgg16-00b39a1b.pth, jcjohnson/pytorch-vgg
    "dcbb9e9d": "rgb",  # vgg19-dcbb9e9d.pth, torchvision
    "397923af": "rgb",  # vgg16-397923af.pth, torchvision
}
# Keras trains no VGG of its own; .npz and .params are ours and the zoo's.
_BY_ENDING = {".h5": "caffe-bgr", ".hdf5": "caffe-bgr", ".npz": "rgb", ".params": "rgb"}


def import_parameters(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    network: str | None = None,
    preprocessing: str = "auto",
    dtype: str = "float32",
) -> ParametersRecord:
    """Convert a file of VGG parameters and return its record.

    Parameters
    ----------
    path : path
        A .npz, .safetensors, .h5 (Keras), .pth (PyTorch) or .params file of VGG16 or VGG19, without batch
        normalization; a classifier is left out.
    output : path
        The .params file to write; its record goes beside it, ending in .json. Existing ones are replaced.
    network : str, optional
        "vgg19" or "vgg16", if the file must be that one. Found from the layers by default.
    preprocessing : str
        What the parameters were trained with. "rgb": torchvision's and the zoo's, nothing is changed.
        "caffe-bgr": see `fold_caffe_preprocessing`. "auto": "caffe-bgr" for .h5; for .npz and .params "rgb";
        .pth and .safetensors are known by their fingerprint, or the preprocessing must be said.
    dtype : str
        "float32", or "float16" for half the size.

    Returns
    -------
    record : ParametersRecord
        What was written beside `output`.

    Raises
    ------
    ParametersError
        If the file is missing, damaged, not finite, of an unknown kind or network, does not fit into
        float16, or leaves the preprocessing open.
    UsageError
        If a setting is none of those above, or `output` does not end in .params.
    OutputError
        If `output` cannot be written.
    """
    source, target = Path(path), Path(output)
    _check_settings(source, target, network, preprocessing, dtype)
    fingerprint = sha256_of(source)
    arrays = read_arrays(source)
    network = network or find_network(arrays, source.name)
    known = _find_preprocessing(source, fingerprint) if preprocessing == "auto" else preprocessing
    named = _as_zoo(take_convolutions(network, arrays, source.name), known)
    content = serialize_ndarrays(_to_gluon(network, named, dtype, source.name))
    record = ParametersRecord(
        name=target.stem,
        network=network,
        file=target.name,
        sha256=hashlib.sha256(content).hexdigest(),
        dtype=dtype,
        preprocessing=PREPROCESSING,
        activations=_activations(known, source, arrays),
        origin=f"imported from {source.name} ({known})",
        source_sha256=fingerprint,
    )
    _write(target, content)
    _write(record_path(target), record.to_json().encode())
    return record


def fold_caffe_preprocessing(
    weight: NDArray[Any], bias: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return conv1_1 for the zoo's preprocessing, given conv1_1 for Caffe's.

    Caffe's network sees blue, green, red in [0, 255] less (103.939, 116.779, 123.68). Channels are turned
    round, weights multiplied by 255 times the standard deviation, and the bias takes up the difference of the
    means. The outcome is the same up to rounding, but in the outermost pixels: the zeros that pad an image
    mean Caffe's mean color there and the zoo's here, which differ by at most half a level of 255.

    Parameters
    ----------
    weight : ndarray, (out, 3, height, width)
        Input channels blue, green, red.
    bias : ndarray, (out,)

    Returns
    -------
    weight, bias : ndarray
        Shaped as given; input channels red, green, blue.
    """
    rgb = np.asarray(weight, np.float64)[:, ::-1]
    shift = 255 * _MEAN - _CAFFE_MEAN
    folded = rgb * (255 * _STD)[:, None, None]
    return folded, np.asarray(bias, np.float64) + np.einsum("ocij,c->o", rgb, shift)


def _check_settings(source: Path, target: Path, network: str | None, preprocessing: str, dtype: str) -> None:
    _check_word("network", network or NETWORKS[0], NETWORKS)
    _check_word("preprocessing", preprocessing, PREPROCESSINGS)
    _check_word("dtype", dtype, DTYPES)
    if target.suffix != ".params":
        raise UsageError(f"The output {target.name} does not end in .params; name it {target.stem}.params.")
    if target.resolve() == source.resolve():
        raise UsageError(f"The output is the input, {source}; name another file.")


def _check_word(setting: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise UsageError(
            f"No {setting} {given!r}.{did_you_mean(given, allowed)} Choose one of {', '.join(allowed)}."
        )


def _find_preprocessing(source: Path, fingerprint: str) -> str:
    known = _BY_ENDING.get(source.suffix.lower()) or _KNOWN_FILES.get(fingerprint[:8])
    if known is None:
        raise ParametersError(
            f"{source.name} does not tell its preprocessing; say preprocessing rgb (torchvision, timm) or "
            "caffe-bgr (converted from Caffe or Keras)."
        )
    return known


def _as_zoo(named: Mapping[str, NDArray[Any]], preprocessing: str) -> dict[str, NDArray[Any]]:
    """Return the arrays with the preprocessing folded in."""
    arrays = dict(named)
    if preprocessing == "caffe-bgr":
        first = ("conv1_1.weight", "conv1_1.bias")
        arrays.update(zip(first, fold_caffe_preprocessing(*(arrays[name] for name in first)), strict=True))
    return arrays


def _to_gluon(
    network: str, named: Mapping[str, NDArray[Any]], dtype: str, origin: str
) -> dict[str, NDArray[Any]]:
    """Return the arrays under the zoo's names, in `dtype`, finite."""
    index = FEATURE_INDICES[network]
    gluon = {}
    for name, array in named.items():
        layer, kind = name.split(".")
        gluon[f"{index[layer]}.{kind}"] = _cast(array, dtype, f"{name} of {origin}")
    return gluon


def _cast(array: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    if not np.isfinite(array).all():
        raise ParametersError(
            f"{name} holds numbers that are not finite; the file is damaged, fetch it again."
        )
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if not np.isfinite(cast).all():
        raise ParametersError(f"{name} holds numbers too large for {dtype}; choose float32.")
    return cast


def _activations(preprocessing: str, source: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return whose scale the feature maps have, as far as the file tells."""
    if preprocessing == "caffe-bgr":
        return "caffe"
    torch_file = source.suffix.lower() in (".pth", ".pt", ".safetensors")
    return "torchvision" if torch_file and "features.0.weight" in arrays else "unknown"


def _write(target: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            Path(folder, target.name).write_bytes(content)
            Path(folder, target.name).replace(target)
    except OSError as error:
        raise OutputError(f"Cannot write {target}: {error.strerror}; choose another place.") from error
