"""Where pretrained parameters lie: in the package, in the model zoo's cache, or in a file of the user's."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path

from gluon_nst.errors import ParametersError, did_you_mean
from gluon_nst.parameters.record import ParametersRecord, read_record
from gluon_nst.parameters.zoo import zoo_file

__all__ = ["Located", "bundled_records", "locate"]

# Which bundled file serves a network when none is named.
_BUNDLED = {"vgg19": "vgg19-normalised", "vgg16": "vgg16-torchvision"}


@dataclass(frozen=True)
class Located:
    """A file of parameters that was found, and what is known of it before it is read."""

    path: Path
    source: str
    record: ParametersRecord | None
    activations: str
    origin: str


def bundled_records() -> list[ParametersRecord]:
    """Return the records of the parameters in the package, by name.

    Raises
    ------
    ParametersError
        If a file has lost its record.
    """
    return [_bundled_record(path) for path in sorted(_bundled_folder().glob("*.params"))]


def locate(source: str, network: str) -> Located:
    """Find the file that `source` means: "bundled", "bundled:NAME", "zoo", "zoo:NETWORK", or a path.

    Raises
    ------
    ParametersError
        If there is none, or the zoo cannot be reached.
    """
    kind, _, name = source.partition(":")
    if kind == "bundled":
        return _locate_bundled(name or _BUNDLED[network])
    if kind == "zoo":
        if name not in ("", network):
            raise ParametersError(f"{source} is not {network}; give `zoo`, or ask for network {name}.")
        return Located(zoo_file(network), f"zoo:{network}", None, "unknown", "the Gluon model zoo")
    return _locate_file(Path(source))


def _bundled_folder() -> Path:
    """Return the folder of the package's own parameters."""
    with importlib.resources.as_file(importlib.resources.files("gluon_nst") / "weights") as folder:
        return folder


def _locate_bundled(name: str) -> Located:
    records = {record.name: record for record in bundled_records()}
    if name not in records:
        raise ParametersError(
            f"No bundled parameters {name!r}.{did_you_mean(name, records)} "
            f"There are: {', '.join(records) or 'none, so install the package again'}."
        )
    record = records[name]
    return Located(
        _bundled_folder() / record.file, f"bundled:{name}", record, record.activations, record.origin
    )


def _bundled_record(path: Path) -> ParametersRecord:
    record = read_record(path)
    if record is None:
        raise ParametersError(f"{path.name} has lost its record {path.stem}.json; install the package again.")
    return record


def _locate_file(path: Path) -> Located:
    if not path.is_file():
        raise ParametersError(
            f"No parameters at {path}: no such file. Give `bundled`, `zoo`, or the path of a .params file."
        )
    record = read_record(path)
    if record is None:
        return Located(path, f"file:{path.name}", None, "unknown", path.name)
    return Located(path, f"file:{path.name}", record, record.activations, record.origin)
