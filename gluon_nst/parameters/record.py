"""The record beside a file of parameters: what it holds, where it came from, whose work it is.

A record is a JSON object in the file of the same name that ends in ``.json``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from gluon_nst.errors import ParametersError

__all__ = ["ACTIVATIONS", "PREPROCESSING", "ParametersRecord", "read_record", "record_path", "sha256_of"]

PREPROCESSING = "rgb-imagenet"
ACTIVATIONS = ("unit-mean", "torchvision", "caffe", "unknown")


@dataclass(frozen=True)
class ParametersRecord:
    """What is known of a file of parameters, without the numbers.

    Attributes
    ----------
    name : str
        The file's name without its ending.
    network : str
        "vgg19" or "vgg16".
    file : str
        The file's name, without a directory.
    sha256 : str
        Fingerprint of the file's bytes, 64 hexadecimal digits.
    dtype : str
        How the numbers are stored: "float16" or "float32".
    preprocessing : str
        What the first convolution expects; always "rgb-imagenet": RGB over 255, less the mean
        (0.485, 0.456, 0.406), over the standard deviation (0.229, 0.224, 0.225).
    activations : str
        Whose scale the feature maps have: "unit-mean" (each filter rescaled to a mean activation of
        about 1), "torchvision", "caffe" (the original numbers), or "unknown".
    origin : str
        The package, file or site that the numbers came from.
    source_sha256 : str
        Fingerprint of the file that this one was converted from.
    license, authors : str
        Terms and attribution; they may be empty for a file of your own.
    """

    name: str
    network: str
    file: str
    sha256: str
    dtype: str
    preprocessing: str
    activations: str
    origin: str
    source_sha256: str
    license: str = ""
    authors: str = ""

    def to_json(self) -> str:
        """Return the record as the text of its JSON file."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"


def record_path(path: Path) -> Path:
    """Return where the record of the parameters at `path` lies."""
    return path.with_suffix(".json")


def read_record(path: Path) -> ParametersRecord | None:
    """Return the record beside the parameters at `path`, or None if there is none.

    Raises
    ------
    ParametersError
        If the file there is no such record.
    """
    beside = record_path(path)
    if not beside.exists():
        return None
    try:
        record = ParametersRecord(**json.loads(beside.read_text(encoding="utf-8")))
        _check_words(record)
    except (OSError, ValueError, TypeError) as error:
        raise ParametersError(
            f"{beside} is no record of parameters ({error}); remove it, or import the original file again."
        ) from error
    return record


def _check_words(record: ParametersRecord) -> None:
    if record.preprocessing != PREPROCESSING:
        raise ValueError(f"preprocessing {record.preprocessing!r}, not {PREPROCESSING!r}")
    if record.activations not in ACTIVATIONS:
        raise ValueError(f"activations {record.activations!r}, none of {', '.join(ACTIVATIONS)}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises
    ------
    ParametersError
        If the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ParametersError(f"Cannot read the parameters {path}: {error.strerror}.") from error
    return digest.hexdigest()
