from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gluon_nst.errors import ImageReadError, OutputError, UsageError
from gluon_nst.images.provenance import read_provenance, xmp_packet
from gluon_nst.images.write import encode_image, write_image

from .builders import ExifWriter, encode, noise

RECORD: dict[str, Any] = {
    "job_id": "a1b2",
    "style": "Große Welle 神奈川沖浪裏 🌊.jpg",
    "odd": '<a href="x">&amp; ]]> \\ \' \0 \x1b \u2028 \ud800',
    "numbers": [1, -2.5e-7, True, None],
    "nested": {"é": {"layers": ["relu1_1", "relu2_1"]}},
    "empty": {},
}
KINDS = pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".PNG", ".Jpg"])


@KINDS
@pytest.mark.parametrize("with_exif", [False, True])
def test_a_record_comes_back_whole(tmp_path: Path, suffix: str, with_exif: bool) -> None:
    exif = ExifWriter("<").block() if with_exif else None
    path = tmp_path / f"out{suffix}"
    write_image(path, noise(16, 16), exif=exif, provenance=RECORD)
    assert read_provenance(path) == RECORD
    with Image.open(path) as image:
        fields = image.getexif()
        assert fields.get(0x010F) == ("Maker" if with_exif else None)
        assert fields.get_ifd(0x8769).get(0x9286) == (b"ASCII\0\0\0a comment" if with_exif else None)


@KINDS
def test_a_picture_without_a_record_gives_none(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"out{suffix}", noise(8, 8))
    assert read_provenance(tmp_path / f"out{suffix}") is None


def test_a_url_carries_a_record_too() -> None:
    url = "memory://gluon_nst_test_provenance.webp"
    write_image(url, noise(8, 8), provenance=RECORD)
    assert read_provenance(url) == RECORD


@pytest.mark.parametrize("kind", ["GIF", "BMP", "JPEG"])
def test_pictures_of_other_programs_carry_none(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").write_bytes(encode(Image.fromarray(noise(8, 8)), kind))
    assert read_provenance(tmp_path / "in") is None
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    (tmp_path / "in").write_bytes(encode(Image.fromarray(noise(8, 8)), "JPEG", xmp=packet))
    assert read_provenance(tmp_path / "in") is None


def test_the_packet_is_xml_that_any_program_can_read() -> None:
    packet = xmp_packet(json.dumps(RECORD))
    root = ElementTree.fromstring(packet)
    texts = [element.text for element in root.iter() if element.tag.endswith("provenance")]
    assert [json.loads(text or "") for text in texts] == [RECORD]


def test_a_record_that_another_program_rewrote_as_an_attribute_is_found(tmp_path: Path) -> None:
    packet = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
      xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
      <rdf:Description rdf:about="" xmlns:n="urn:gluon-nst:provenance:1.0/" n:provenance='{"a":"&lt;1&gt;"}'/>
      </rdf:RDF></x:xmpmeta>"""
    (tmp_path / "in.jpg").write_bytes(encode(Image.fromarray(noise(8, 8)), "JPEG", xmp=packet))
    assert read_provenance(tmp_path / "in.jpg") == {"a": "<1>"}


@pytest.mark.parametrize("text", ["", "{", '{"a": 1', "[1, 2]", '"text"'])
def test_a_damaged_record_is_an_error_not_none(tmp_path: Path, text: str) -> None:
    chunks = PngInfo()
    chunks.add_itxt("gluon_nst", text)
    (tmp_path / "in.png").write_bytes(encode(Image.fromarray(noise(4, 4)), "PNG", pnginfo=chunks))
    (tmp_path / "in.jpg").write_bytes(encode(Image.fromarray(noise(4, 4)), "JPEG", xmp=xmp_packet(text)))
    for name in ("in.png", "in.jpg"):
        with pytest.raises(ImageReadError, match="record is damaged"):
            read_provenance(tmp_path / name)


def test_unreadable_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="no such file"):
        read_provenance(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageReadError, match="text file"):
        read_provenance(tmp_path / "text.png")
    data = encode_image(noise(30, 30), ".jpg", provenance=RECORD)
    (tmp_path / "cut.jpg").write_bytes(data[:-100])
    with pytest.raises(ImageReadError, match="cut off"):
        read_provenance(tmp_path / "cut.jpg")


@pytest.mark.parametrize(
    "record", [{"x": object()}, {"x": float("nan")}, {1: 2, "a": 3}, {"x": np.float32(1)}]
)
def test_what_json_cannot_hold_is_a_usage_error(record: dict[Any, Any]) -> None:
    with pytest.raises(UsageError, match="plain JSON"):
        encode_image(noise(4, 4), ".png", provenance=record)


def test_a_record_too_long_for_a_jpeg_is_refused_and_fits_the_others(tmp_path: Path) -> None:
    record = {"long": "x" * 70000}
    with pytest.raises(OutputError, match="JPEG holds"):
        encode_image(noise(4, 4), ".jpg", provenance=record)
    for suffix in (".png", ".webp", ".tif"):
        write_image(tmp_path / f"out{suffix}", noise(4, 4), provenance=record)
        assert read_provenance(tmp_path / f"out{suffix}") == record


def test_equal_records_give_equal_bytes_whatever_their_order() -> None:
    forward, backward = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    for suffix in (".png", ".jpg"):
        first = encode_image(noise(4, 4), suffix, provenance=forward)
        assert first == encode_image(noise(4, 4), suffix, provenance=backward)
        assert first != encode_image(noise(4, 4), suffix, provenance={"a": 1})


def test_pixels_do_not_depend_on_the_record() -> None:
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        with_record = Image.open(io.BytesIO(encode_image(noise(9, 9), suffix, provenance=RECORD)))
        without = Image.open(io.BytesIO(encode_image(noise(9, 9), suffix)))
        np.testing.assert_array_equal(np.asarray(with_record), np.asarray(without))
