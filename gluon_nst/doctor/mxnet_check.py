"""A first computation with MXNet, to see whether it works at all; importing this module loads MXNet.

Meant to be called through `gluon_nst.probe`, since a build that does not fit the machine may kill its
process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gluon_nst.backend import autograd, context, gpu_count, mx, nd, translate_errors, version
from gluon_nst.errors import BackendError
from gluon_nst.precision import choose_precision

__all__ = ["check_mxnet", "compute_on"]


def check_mxnet() -> dict[str, Any]:
    """Compute on the CPU and return what MXNet is.

    Returns
    -------
    dict
        "version"; "cuda", whether it was built for GPUs; "gpus", how many it sees; "precision" and "threads",
        as they will be used.

    Raises
    ------
    BackendError
        If MXNet fails, or gets it wrong.
    """
    compute_on(["cpu"])
    return {
        "version": version(),
        "cuda": bool(mx.runtime.Features().is_enabled("CUDA")),
        "gpus": gpu_count(),
        "precision": choose_precision("auto", "cpu").name,
        "threads": os.environ["OMP_NUM_THREADS"],
    }


def compute_on(devices: Sequence[str]) -> None:
    """Convolve a 2x2 image of ones with a 3x3 kernel of ones on each device.

    Every output pixel sees all four ones, so they sum up to 16. The convolution is oneDNN's or cuDNN's, the
    sum MXNet's own.

    Raises
    ------
    BackendError
        If MXNet fails, or gets it wrong; the message names the device.
    """
    for device in devices:
        try:
            with translate_errors():
                total = _convolve(context(device))
        except BackendError as error:
            raise BackendError(f"{device}: {error}") from error
        if total != 16.0:
            raise BackendError(f"{device}: MXNet computed {total} where 16 is right; install it again.")


def _convolve(ctx: Any) -> float:
    image, kernel, bias = nd.ones((1, 1, 2, 2), ctx), nd.ones((1, 1, 3, 3), ctx), nd.zeros((1,), ctx)
    with autograd.train_mode():
        convolved = nd.Convolution(image, kernel, bias, kernel=(3, 3), pad=(1, 1), num_filter=1)
    return float(convolved.sum().asscalar())
