"""How a picture came to be, kept inside its file as one JSON object.

In PNG it is the text chunk "gluon_nst"; in JPEG, WebP and TIFF a property of an XMP packet (ISO 16684-1),
which other programs show and preserve, and which takes no field away from the photographer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from PIL import ImageFile

from gluon_nst import storage
from gluon_nst.errors import ImageReadError, UsageError
from gluon_nst.images.opening import open_header
from gluon_nst.images.read import read_file

__all__ = [
    "PNG_KEY",
    "carries_provenance",
    "provenance_in",
    "provenance_text",
    "read_provenance",
    "xmp_packet",
]

PNG_KEY = "gluon_nst"

_NAMESPACE = "urn:gluon-nst:provenance:1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{_RDF}">'
    f'<rdf:Description rdf:about="" xmlns:gluon_nst="{_NAMESPACE}">'
    "<gluon_nst:provenance>{text}</gluon_nst:provenance>"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="r"?>'
)


def provenance_text(provenance: Mapping[str, Any]) -> str:
    """Return a provenance record as JSON: ASCII, keys sorted, so equal records give equal bytes.

    Raises
    ------
    UsageError
        If it holds something that JSON cannot: an object, NaN, keys that are not text.
    """
    try:
        text = json.dumps(dict(provenance), sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise UsageError(f"provenance must be plain JSON data: {error}") from error
    return text


def xmp_packet(text: str) -> bytes:
    """Return an XMP packet that holds `text`, from `provenance_text`."""
    return _PACKET.replace("{text}", escape(text)).encode("utf-8")


def read_provenance(path: storage.StrPath) -> dict[str, Any] | None:
    """Read the record that `write_image` put into a picture.

    Parameters
    ----------
    path : str or os.PathLike
        A local path or an fsspec URL.

    Returns
    -------
    dict or None
        None when the picture carries none.

    Raises
    ------
    ImageReadError
        If the file is missing, no picture, or its record is damaged.
    """
    name = os.fspath(path)
    return provenance_in(open_header(read_file(path), name, max_pixels=2**62), name)


def provenance_in(image: ImageFile.ImageFile, name: str) -> dict[str, Any] | None:
    """Return the record in a picture whose header is read, None if there is none.

    Raises
    ------
    ImageReadError
        If the record is damaged.
    """
    text = image.info.get(PNG_KEY) if image.format == "PNG" else _from_xmp(image)
    if text is None:
        return None
    try:
        record = json.loads(text)
    except ValueError as error:
        raise ImageReadError(f"{name}: its gluon_nst record is damaged: {error}") from error
    if not isinstance(record, dict):
        raise ImageReadError(f"{name}: its gluon_nst record is damaged: not a JSON object")
    return record


def carries_provenance(image: ImageFile.ImageFile) -> bool:
    """Return whether a picture whose header is read seems to hold a record; the record is not looked into."""
    if image.format == "PNG":
        return PNG_KEY in image.info
    packet = image.info.get("xmp")
    return isinstance(packet, bytes) and _NAMESPACE.encode() in packet


def _from_xmp(image: ImageFile.ImageFile) -> str | None:
    packet = image.info.get("xmp")
    if not isinstance(packet, bytes) or _NAMESPACE.encode() not in packet:
        return None
    try:
        root = ElementTree.fromstring(packet.strip(b"\0 \r\n\t"))
    except ElementTree.ParseError:
        return None
    key = f"{{{_NAMESPACE}}}provenance"
    for description in root.iter(f"{{{_RDF}}}Description"):
        # A property may be an element or, after another program has rewritten the packet, an attribute.
        text = description.get(key) or description.findtext(key)
        if text is not None:
            return text
    return None
