"""How much memory a chunk will take, said before it starts."""

from __future__ import annotations

from gluon_nst.errors import OutOfMemoryError
from gluon_nst.machine import available_memory
from gluon_nst.pyramid import Scale

__all__ = ["check_memory", "predicted_bytes"]

# Resident memory in float32 on a CPU, hybridized, with head gradients: measured slope over the image's size,
# 3.0 KB a pixel, and what the process takes besides.
_BYTES_PER_PIXEL = 3100
_BYTES_BESIDES = 5 * 10**8


def predicted_bytes(scale: Scale, count: int) -> int:
    """Return the host memory in bytes that `count` images of this scale take together."""
    return count * scale.height * scale.width * _BYTES_PER_PIXEL + _BYTES_BESIDES


def check_memory(scale: Scale, count: int, device: str) -> None:
    """Raise OutOfMemoryError if the images cannot fit: the kernel would end the whole process instead."""
    available = available_memory()
    needed = predicted_bytes(scale, count)
    if device == "cpu" and available is not None and needed > available:
        raise OutOfMemoryError(
            f"{count} image{'s' * (count > 1)} of {scale.width}x{scale.height} pixels would take about "
            f"{needed / 1e9:.1f} GB, but {available / 1e9:.1f} GB are free. Use a smaller --size."
        )
