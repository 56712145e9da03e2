"""Make the picture of the README: photograph, style and result, side by side, one row a pair.

python docs/make_gallery.py            (about a quarter of an hour on two cores)
"""

from pathlib import Path

from PIL import Image, ImageOps

import gluon_nst

ROOT = Path(__file__).parent.parent
PAIRS = (
    ("temple", "night_lanterns"),
    ("coffee", "woodblock_waves"),
    ("cat", "stained_glass"),
    ("dahlia", "autumn_avenue"),
)
HEIGHT = 280
GAP = 6


def row(photo, style):
    content, painting = ROOT / "data" / "photos" / f"{photo}.jpg", ROOT / "data" / "styles" / f"{style}.jpg"
    made = gluon_nst.stylize(content, painting, size=512).image
    pictures = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in (content, painting)]
    return [at_height(picture) for picture in (*pictures, made)]


def at_height(picture):
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


def main():
    rows = [row(*pair) for pair in PAIRS]
    width = max(sum(picture.width + GAP for picture in pictures) - GAP for pictures in rows)
    sheet = Image.new("RGB", (width, len(rows) * (HEIGHT + GAP) - GAP), "white")
    for number, pictures in enumerate(rows):
        left = 0
        for picture in pictures:
            sheet.paste(picture, (left, number * (HEIGHT + GAP)))
            left += picture.width + GAP
    sheet.save(ROOT / "docs" / "gallery.jpg", quality=88)


if __name__ == "__main__":
    main()
