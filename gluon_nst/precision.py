"""In which precision feature maps are computed: what was asked for, and what this machine can be trusted with.

bfloat16 is taken only after a check in a process of its own has agreed with float32. The verdict is remembered for
each kind of CPU, so that it costs its few seconds once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from pathlib import Path

from gluon_nst import backend
from gluon_nst._version import __version__
from gluon_nst.bfloat16 import bfloat16_kernels, is_fast
from gluon_nst.errors import DeviceError, UsageError, did_you_mean
from gluon_nst.gpu_driver import read_driver
from gluon_nst.machine import cpu_flags, cpu_model
from gluon_nst.probe import call_apart

__all__ = ["PRECISIONS", "Precision", "bfloat16_fault", "choose_precision"]

PRECISIONS = ("auto", "float32", "bfloat16", "tf32")

# Largest relative difference of each kind that passes. Sound kernels came to 0.004, 0.004 and 0.016; a wrong layout,
# a skipped channel or a strip's border gives 0.1 and more.
_BOUNDS = {"features": 0.02, "gram": 0.02, "gradient": 0.05}

# Seconds; the check took 1.5 on two quiet cores and 7 on busy ones. It may hang for ever, which is why it is limited.
_PATIENCE = 90.0

# TF32 came with Ampere.
_TF32_SINCE = (8, 0)


@dataclasses.dataclass(frozen=True)
class Precision:
    """What will be used ("float32", "bfloat16" or "tf32"), and a note where it is less than was hoped for."""

    name: str
    note: str = ""


def choose_precision(asked: str, device: str) -> Precision:
    """Return the precision of the feature maps; all else is float32 always.

    "auto" takes the fastest that is safe: bfloat16 on CPUs where it is fast and the check agrees, TF32 on GPUs that
    have it, else float32.

    Parameters
    ----------
    asked
        One of `PRECISIONS`.
    device
        "cpu" or "gpu:K".

    Raises
    ------
    UsageError
        If there is no such precision on this kind of device.
    DeviceError
        If bfloat16 was asked for by name, and this CPU has no kernels for it or fails the check.
    """
    offered = ("auto", "float32", "bfloat16") if device == "cpu" else ("auto", "float32", "tf32")
    if asked not in offered:
        raise UsageError(
            f"there is no precision {asked!r} on {device}.{did_you_mean(asked, offered)} "
            f"Precisions: {', '.join(offered)}."
        )
    return _on_cpu(asked) if device == "cpu" else _on_gpu(asked, device)


def _on_cpu(asked: str) -> Precision:
    kernels = bfloat16_kernels()
    if asked == "float32" or (asked == "auto" and not is_fast(kernels)):
        return Precision("float32")
    fault = bfloat16_fault(kernels)
    if not fault:
        return Precision("bfloat16")
    if asked == "auto":
        return Precision("float32", f"bfloat16 is not used here: {fault}.")
    raise DeviceError(f"bfloat16 cannot be used on this CPU: {fault}. Use --precision float32.")


def _on_gpu(asked: str, device: str) -> Precision:
    """Tell what cuDNN and cuBLAS will do: they take TF32 by themselves unless a variable forbids it at their start."""
    if asked == "float32":
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
        return Precision("float32")
    has_it = _capability(device) >= _TF32_SINCE
    if asked == "tf32" and not has_it:
        raise DeviceError(f"{device} has no TF32, which came with Ampere. Use --precision float32.")
    return Precision("tf32" if has_it else "float32")


def _capability(device: str) -> tuple[int, int]:
    """Return the compute capability of a GPU; (0, 0) where the driver does not tell."""
    driver, index = read_driver(), int(device.partition(":")[2])
    return driver.gpus[index].capability if driver and index < len(driver.gpus) else (0, 0)


@functools.lru_cache
def bfloat16_fault(kernels: str) -> str:
    """Return why bfloat16 is not to be used with these kernels on this machine; "" if it may be.

    Parameters
    ----------
    kernels
        What `gluon_nst.bfloat16.bfloat16_kernels` says.
    """
    if not kernels:
        return "it has neither amx_bf16 nor avx512_bf16"
    file = _folder() / f"{_machine_digest(kernels)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads(file.read_text())["fault"])
    reply = call_apart("gluon_nst.precision_check:bfloat16_errors", timeout=_PATIENCE)
    if reply.failure:
        # Not remembered: what ends a process or makes it wait may also be the machine's load.
        return f"the check did not come back ({reply.failure})"
    fault = _disagreement(reply.answer)
    _remember(file, {"fault": fault, "errors": reply.answer, "cpu": cpu_model(), "kernels": kernels})
    return fault


def _disagreement(errors: dict[str, float]) -> str:
    """Return what differs too much from float32; a number that is none differs too much as well."""
    wrong = [f"{name} by {error:.2g}" for name, error in errors.items() if not error <= _BOUNDS.get(name, 0)]
    return f"the check differs from float32 in {', '.join(wrong)}" if wrong else ""


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gluon_nst" / "bfloat16"


def _machine_digest(kernels: str) -> str:
    """Return a digest of all that the verdict may depend on."""
    known = [cpu_model(), sorted(cpu_flags()), kernels, backend.version(), __version__]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _remember(file: Path, verdict: dict[str, object]) -> None:
    """Write the verdict in one rename, since workers of one machine may do so at once; or leave it."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(verdict))
        part.replace(file)
