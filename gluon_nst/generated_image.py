"""The Block whose one parameter is the image being optimised."""

from __future__ import annotations

from typing import Any

from gluon_nst.backend import gluon, nd

__all__ = ["GeneratedImage"]


class GeneratedImage(gluon.Block):  # type: ignore[misc]
    """Images as the only thing that is trained.

    Parameters
    ----------
    start : NDArray
        Where the images start, (N, 3, H, W) float32, in the recipe's pixel units; copied.

    Outputs:
        - **image**: the images as they are now, (N, 3, H, W). Inside ``autograd.record()`` a backward pass
          from it arrives in `gradient`.
    """

    def __init__(self, start: Any) -> None:
        super().__init__()
        with self.name_scope():
            self.image = self.params.get("image", shape=start.shape, init="zeros")
        self.initialize(ctx=start.context)
        self.image.set_data(start)

    def forward(self) -> Any:
        """Return the images."""
        return self.image.data()

    @property
    def gradient(self) -> Any:
        """What the last backward pass left, (N, 3, H, W)."""
        return self.image.grad()

    def clip(self, low: Any, high: Any) -> None:
        """Clip every channel to [low, high], two NDArrays (1, 3, 1, 1), in place."""
        data = self.image.data()
        # clip() with out= a slice would clip a copy; these two write into the parameter itself.
        nd.broadcast_minimum(nd.broadcast_maximum(data, low), high, out=data)
