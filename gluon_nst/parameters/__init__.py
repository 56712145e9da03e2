"""The pretrained numbers of VGG16 and VGG19: bundled, from the Gluon model zoo, or from a file.

Whatever the source, the first convolution expects the zoo's preprocessing: RGB over 255, less the ImageNet
mean, over the ImageNet standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.errors import ParametersError, UsageError, did_you_mean
from gluon_nst.parameters.importing import import_parameters
from gluon_nst.parameters.names import take_convolutions
from gluon_nst.parameters.ndarray_file import read_ndarrays
from gluon_nst.parameters.record import ParametersRecord, sha256_of
from gluon_nst.parameters.sources import Located, bundled_records, locate
from gluon_nst.vgg_layers import NETWORKS, check_layer, convolutions_up_to

__all__ = [
    "Parameters",
    "ParametersRecord",
    "ParametersReport",
    "import_parameters",
    "list_parameters",
    "load_parameters",
    "verify_parameters",
]


@dataclass(frozen=True, eq=False)
class Parameters:
    """Pretrained parameters of one network.

    Attributes
    ----------
    network : str
        "vgg19" or "vgg16".
    arrays : mapping of str to ndarray
        ``convB_I.weight`` (out, in, 3, 3) and ``convB_I.bias`` (out,), float32, read-only, in the network's
        order, from conv1_1 to the last convolution asked for.
    sha256 : str
        Fingerprint of the numbers: the SHA-256 of the file they were read from, whatever the source.
    source : str
        "bundled:NAME", "zoo:NETWORK" or "file:NAME", without a directory, since it travels with results.
    activations : str
        Whose scale the feature maps have; see `ParametersRecord`.
    origin, license, authors : str
        Where the numbers came from, under which terms, and whose work they are; empty if not known.
    """

    network: str
    arrays: Mapping[str, NDArray[np.float32]]
    sha256: str
    source: str
    activations: str
    origin: str = ""
    license: str = ""
    authors: str = ""


@dataclass(frozen=True)
class ParametersReport:
    """What `verify_parameters` found.

    Attributes
    ----------
    source, network, sha256 : str
        As in `Parameters`; the fingerprint as computed now.
    expected_sha256 : str
        The fingerprint in the record beside the file; empty if there is no record.
    convolutions : int
        How many convolutions the file holds.
    problems : tuple of str
        One sentence each; empty if all is well.
    """

    source: str
    network: str
    sha256: str
    expected_sha256: str
    convolutions: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def load_parameters(
    source: str = "bundled", network: str = "vgg19", *, layers_up_to: str | None = None
) -> Parameters:
    """Return pretrained parameters of `network`.

    Parameters
    ----------
    source : str
        "bundled" (or "bundled:NAME"); "zoo", the Gluon model zoo, which may have to download; or the path of
        a ``.params`` file, with or without the record that `import_parameters` writes beside it.
    network : str
        "vgg19" or "vgg16".
    layers_up_to : str, optional
        The deepest layer wanted, ``convB_I`` or ``reluB_I``; the rest is left out. All by default.

    Returns
    -------
    parameters : Parameters
        The float32 arrays, and where they came from.

    Raises
    ------
    ParametersError
        If they are missing, damaged, not finite, of another network, or end before `layers_up_to`.
    RecipeError
        If the network has no such layer.
    UsageError
        If there is no such network.
    """
    _check_network(network)
    if layers_up_to is not None:
        check_layer(network, layers_up_to)
    located = locate(source, network)
    sha256 = sha256_of(located.path)
    _check_fingerprint(located, sha256)
    held = _select(_read(located, network), network, layers_up_to, located.path.name)
    arrays = {name: _as_float32(array) for name, array in held.items()}
    _check_finite(arrays, located.path.name)
    return _parameters(network, arrays, sha256, located)


def list_parameters() -> list[ParametersRecord]:
    """Return the records of the bundled parameters, by name."""
    return bundled_records()


def verify_parameters(source: str = "bundled", network: str = "vgg19") -> ParametersReport:
    """Read parameters in full and report whether fingerprint, shapes and numbers are as they must be.

    Parameters
    ----------
    source, network : str
        As for `load_parameters`.

    Raises
    ------
    ParametersError
        If there is no file to look at: nothing at that path, or a zoo that cannot be reached.
    UsageError
        If there is no such network.
    """
    _check_network(network)
    located = locate(source, network)
    sha256 = sha256_of(located.path)
    arrays: dict[str, NDArray[Any]] = {}
    problems = _problems(
        lambda: _check_fingerprint(located, sha256),
        lambda: arrays.update(_read(located, network)),
        lambda: _check_finite(arrays, located.path.name),
    )
    expected = located.record.sha256 if located.record else ""
    return ParametersReport(located.source, network, sha256, expected, len(arrays) // 2, problems)


def _problems(*checks: Callable[[], object]) -> tuple[str, ...]:
    """Run the checks and return what they complain of."""
    found = []
    for check in checks:
        try:
            check()
        except ParametersError as error:
            found.append(str(error))
    return tuple(found)


def _check_network(network: str) -> None:
    if network not in NETWORKS:
        allowed = " and ".join(NETWORKS)
        raise UsageError(
            f"No network {network!r}.{did_you_mean(network, NETWORKS)} There are {allowed}; choose one."
        )


def _check_fingerprint(located: Located, sha256: str) -> None:
    if located.record is not None and located.record.sha256 != sha256:
        raise ParametersError(
            f"{located.path.name} is damaged or was replaced: its sha256 is {sha256}, its record says "
            f"{located.record.sha256}. Install or import it again."
        )


def _read(located: Located, network: str) -> dict[str, NDArray[Any]]:
    """Return the convolutions that the file holds, as they are stored."""
    return take_convolutions(network, read_ndarrays(located.path), located.path.name)


def _select(
    held: Mapping[str, NDArray[Any]], network: str, layers_up_to: str | None, name: str
) -> dict[str, NDArray[Any]]:
    """Return the arrays up to a layer."""
    if layers_up_to is None:
        return dict(held)
    wanted = convolutions_up_to(network, (check_layer(network, layers_up_to),))
    if f"{wanted[-1]}.weight" not in held:
        raise ParametersError(f"{name} ends before {wanted[-1]}; give a file with more layers.")
    return {key: array for key, array in held.items() if key.partition(".")[0] in wanted}


def _as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Copy, so that the file need not stay open, and lock the copy."""
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which is reported
        copy = array.astype(np.float32)
    copy.setflags(write=False)
    return copy


def _check_finite(arrays: Mapping[str, NDArray[Any]], name: str) -> None:
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise ParametersError(
                f"{name} is damaged: {key} holds numbers that are not finite; fetch it again."
            )


def _parameters(
    network: str, arrays: Mapping[str, NDArray[np.float32]], sha256: str, located: Located
) -> Parameters:
    terms = (located.record.license, located.record.authors) if located.record else ("", "")
    return Parameters(network, arrays, sha256, located.source, located.activations, located.origin, *terms)
