"""Whether this CPU multiplies bfloat16 natively, and what must happen before oneDNN may use that.

Loads nothing. oneDNN 2.4.4, which is inside MXNet 1.9.1, has kernels for two instruction sets: AVX512_BF16, which it
takes by itself, and AMX, which needs its variable and the kernel's permission; with the first and without the
second the process dies of an illegal instruction.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Collection, MutableMapping

from gluon_nst.machine import cpu_flags, cpu_vendor

__all__ = ["allow_amx", "bfloat16_kernels", "is_fast", "widest_image"]

_ISA = "DNNL_MAX_CPU_ISA"
_AMX = "AVX512_CORE_AMX"

# From Linux: x86_64's number of arch_prctl, ARCH_REQ_XCOMP_PERM, and XFEATURE_XTILEDATA.
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18


def allow_amx(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let oneDNN use AMX where the CPU has it and the kernel grants it; to be called before MXNet is loaded.

    A choice of the user's in DNNL_MAX_CPU_ISA is kept, unless it is AMX and that would kill the process.
    """
    if not {"amx_tile", "amx_bf16"} <= cpu_flags() or environment.get(_ISA, _AMX) != _AMX:
        return
    environment[_ISA] = _AMX if _granted() else "AVX512_CORE_BF16"


def _granted() -> bool:
    """Ask the kernel for AMX's tiles; the grant holds for this process, and not over an exec."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0)
    return False


def bfloat16_kernels(
    flags: Collection[str] | None = None, environment: MutableMapping[str, str] = os.environ
) -> str:
    """Return which kernels oneDNN will take for bfloat16: "amx", "avx512", or "" for none.

    Parameters
    ----------
    flags
        Those of the CPU; None reads them.
    environment
        As it is after `allow_amx`.
    """
    flags = cpu_flags() if flags is None else flags
    limit = environment.get(_ISA, "ALL")
    if limit == _AMX and "amx_bf16" in flags:
        return "amx"
    usable = "avx512_bf16" in flags and limit in ("ALL", "AVX512_CORE_BF16", _AMX)
    return "avx512" if usable else ""


def widest_image(kernels: str) -> int | None:
    """Return how many pixels wide a feature map may be with these kernels; None if any number.

    With AMX the gradient of a 3x3 convolution never returns from 737 on (736 was the widest that did).
    """
    return 736 if kernels == "amx" else None


def is_fast(kernels: str, vendor: str | None = None) -> bool:
    """Return whether these kernels are faster than those for float32.

    AMX is, by 4 to 8 times a convolution. AVX512_BF16 is on AMD (Zen 4: 430 against 215 GFLOP/s of two cores) and is
    not on Intel (Sapphire Rapids without AMX: 77 against 125 a core).
    """
    return kernels == "amx" or (
        kernels == "avx512" and (cpu_vendor() if vendor is None else vendor) == "AuthenticAMD"
    )
