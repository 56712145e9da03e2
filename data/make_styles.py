"""Paint the sample style images: ``python data/make_styles.py [-o DIR] [--size PX] [NAME ...]``.

Needs numpy and Pillow only. The same seed and size give the same picture.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path

import numpy as np

SIZE = 768  # longer side of the committed images, pixels
RATIO = 0.75  # height over width of every style image
QUALITY = 90
# file name: (module of the package ``painting``, seed)
STYLES = {
    "night_lanterns": ("night", 7),
    "stained_glass": ("glass", 5),
    "woodblock_waves": ("waves", 3),
    "pointillist_bay": ("points", 2),
    "autumn_avenue": ("autumn", 11),
}


def paint(name: str, size: int, folder: Path) -> Path:
    """Paint the style ``name`` with ``size`` pixels on its longer side and save it under ``folder``."""
    module, seed = STYLES[name]
    artist = importlib.import_module(f"painting.{module}")
    picture = artist.paint((round(size * RATIO), size), np.random.default_rng(seed))
    path = folder / f"{name}.jpg"
    picture.save(path, quality=QUALITY, optimize=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint the sample style images.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(STYLES)}")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "styles", metavar="DIR")
    parser.add_argument(
        "--size", type=int, default=SIZE, metavar="PX", help="longer side (default: %(default)s)"
    )
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(STYLES))
    if unknown:
        parser.error(f"no style named {', '.join(unknown)}; the styles are {', '.join(STYLES)}")
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.names or STYLES:
        start = time.perf_counter()
        path = paint(name, options.size, options.output)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB  {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
