"""Pictures, EXIF blocks and ICC profiles for the tests, built by hand or by Pillow, not by gluon_nst."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image, ImageCms

# The numbers that ICC.1 gives for sRGB adapted to D50 (Bradford), from IEC 61966-2-1.
SRGB_TO_XYZ_D50 = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(height: int, width: int) -> np.ndarray:
    """Return a smooth picture (H, W, 3) with no symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (
        255 * x // max(width - 1, 1),
        255 * y // max(height - 1, 1),
        255 * (x + y) // (height + width),
    )
    return np.stack(channels, axis=-1).astype(np.uint8)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    """Return 8-bit sRGB of linear light, clipped (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(int)


def xyz_to_srgb(xyz: np.ndarray) -> np.ndarray:
    return srgb_encode(xyz @ np.linalg.inv(SRGB_TO_XYZ_D50).T)


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """Return 8-bit sRGB of CIELAB with white D50 (CIE 15)."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return xyz_to_srgb(xyz * np.array([0.9642, 1.0, 0.8249]))


def _profile(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        table += struct.pack(">4sII", key, 132 + 12 * len(tags) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x", 132 + 12 * len(tags) + len(body), 0x02400000, kind, space, pcs, b"acsp"
    )
    head += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + table + body


def gray_profile(gamma: float) -> bytes:
    """Return a profile of grays with a pure power curve."""
    curve = struct.pack(">4s4xIH2x", b"curv", 1, round(gamma * 256))
    white = struct.pack(">4s4x3i", b"XYZ ", 0xF6D6, 0x10000, 0xD32D)
    return _profile(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": curve, b"wtpt": white})


def cmyk_profile(corners: np.ndarray) -> bytes:
    """Return a profile on yellowish paper: a table of 16 solid overprints, corners[c, m, y, k] = 8-bit Lab."""
    ramp = bytes(range(256))
    table = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *(np.eye(3, dtype=int) * 65536).ravel().tolist())
    table += ramp * 4 + corners.astype(np.uint8).tobytes() + ramp * 3
    paper = struct.pack(">4s4x3i", b"XYZ ", *(round(part * 65536) for part in (0.80, 0.82, 0.70)))
    return _profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": table, b"A2B1": table, b"wtpt": paper})


def swapped_profile() -> bytes:
    """Return sRGB with its red and green primaries exchanged."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)


class ExifWriter:
    """EXIF by the book (Exif 2.32, 4.6): IFD0, Exif, GPS, interoperability, thumbnail; in either order."""

    def __init__(self, order: str) -> None:
        self.order = order

    def fields(self, start: int, entries: list[tuple[int, int, Any]], following: int = 0) -> bytes:
        """Return one directory; entries are (tag, type, value) with bytes, an int, or a list of ints."""
        table, heap = struct.pack(self.order + "H", len(entries)), b""
        for tag, kind, value in entries:
            data, count = self._values(kind, value)
            table += struct.pack(self.order + "HHI", tag, kind, count)
            if len(data) > 4:
                table += struct.pack(self.order + "I", start + 6 + 12 * len(entries) + len(heap))
                heap += data + bytes(len(data) % 2)
            else:
                table += data.ljust(4, b"\0")
        return table + struct.pack(self.order + "I", following) + heap

    def _values(self, kind: int, value: Any) -> tuple[bytes, int]:
        if isinstance(value, bytes):
            return value, len(value)
        numbers = value if isinstance(value, list) else [value]
        layout = {3: "H", 4: "I", 5: "I", 9: "i", 10: "i"}[kind]
        count = len(numbers) // 2 if kind in (5, 10) else len(numbers)
        return struct.pack(f"{self.order}{len(numbers)}{layout}", *numbers), count

    def block(self, orientation: int = 6) -> bytes:
        """Return a rich block, such as a phone writes it."""
        thumbnail = encode(Image.new("RGB", (16, 12), (255, 0, 0)), "JPEG")
        at = {"image": 8, "photo": 600, "place": 1200, "inter": 1500, "thumb": 1600, "jpeg": 1700}
        image = [
            (0x0100, 4, 4000),
            (0x0101, 4, 3000),
            (0x010F, 2, b"Maker\0"),
            (0x0112, 3, orientation),
            (0x011A, 5, [300, 1]),
            (0x013B, 2, "Zoë Ünal\0".encode()),
            (0x8298, 2, "© Zoë\0".encode("latin-1")),
            (0x8769, 4, at["photo"]),
            (0x8825, 4, at["place"]),
        ]
        photo = [
            (0x829A, 5, [1, 250]),
            (0x9003, 2, b"2024:05:06 07:08:09\0"),
            (0x9204, 10, [-1, 3]),
            (0x927C, 7, b"maker's secret" * 10),
            (0x9286, 7, b"ASCII\0\0\0a comment"),
            (0xA001, 3, 65535),
            (0xA002, 4, 4000),
            (0xA003, 4, 3000),
            (0xA005, 4, at["inter"]),
            (0xA434, 2, "Objectif 35 mm é\0".encode()),
        ]
        place = [(0x0001, 2, b"N\0"), (0x0002, 5, [48, 1, 51, 1, 30, 1])]
        thumb = [(0x0103, 3, 6), (0x0201, 4, at["jpeg"]), (0x0202, 4, len(thumbnail))]
        data = ({"<": b"II", ">": b"MM"}[self.order] + struct.pack(self.order + "HI", 42, 8)).ljust(8)
        data = (data + self.fields(at["image"], image, at["thumb"])).ljust(at["photo"], b"\0")
        data = (data + self.fields(at["photo"], photo)).ljust(at["place"], b"\0")
        data = (data + self.fields(at["place"], place)).ljust(at["inter"], b"\0")
        data = (data + self.fields(at["inter"], [(0x0001, 2, b"R98\0")])).ljust(at["thumb"], b"\0")
        data = (data + self.fields(at["thumb"], thumb)).ljust(at["jpeg"], b"\0")
        return b"Exif\0\0" + data + thumbnail
