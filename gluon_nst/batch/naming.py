"""Where each output goes: a template for names, the input's tree, and never outside the output directory."""

from __future__ import annotations

import hashlib
import os
import posixpath
import string
from collections.abc import Sequence
from pathlib import PurePosixPath

from gluon_nst.errors import UsageError, did_you_mean
from gluon_nst.storage import StrPath, is_url, join

__all__ = ["DEFAULT_NAME", "NAME_FIELDS", "check_name", "output_name", "place_output"]

DEFAULT_NAME = "{stem}__{style}"
"""Two underlines, since names of photographs hold one of them."""

NAME_FIELDS = ("stem", "style", "folder", "name", "ext")
"""The content's name without and with its ending; stems of the styles, joined by ``+``; the content's folder
below the one given; the ending without its dot."""

_LONGEST = 255  # bytes of one name: ext4, XFS, APFS and NTFS allow no more
_DIGEST = 8  # hex digits that tell shortened names apart


def check_name(template: str) -> str:
    """Return the template if outputs can be named by it.

    Raises
    ------
    UsageError
        On an unknown field, a lone brace, an absolute path, ``..``, or an empty name.
    """
    for text, field, form, conversion in _parsed(template):
        if field is not None and field not in NAME_FIELDS:
            raise UsageError(
                f"the name template {template!r} has the field {field!r}; fields are "
                f"{', '.join(f'{{{name}}}' for name in NAME_FIELDS)}.{did_you_mean(field, NAME_FIELDS)}"
            )
        if form or conversion or "\0" in text:
            raise UsageError(f"the name template {template!r} takes fields as they are, such as {{stem}}.")
    last = template.rpartition("/")[2]
    if template.startswith("/") or ".." in template.split("/") or last in ("", ".", "{folder}"):
        raise UsageError(
            f"the name template {template!r} names no file below the output directory; write something like "
            f"{DEFAULT_NAME} or {{style}}/{{stem}}."
        )
    return template


def output_name(template: str, relative: str, styles: Sequence[str], suffix: str) -> str:
    """Return the path of an output below the output directory.

    Parameters
    ----------
    template
        As `check_name` allows. The content's folders come before it, unless it has ``{folder}``.
    relative
        The content's path below its input, with ``/``.
    styles
        Paths or URLs of the style images.
    suffix
        Ending of the output, with its dot.
    """
    folder, name = posixpath.split(relative)
    fields = {
        "stem": _plain(PurePosixPath(name).stem),
        "style": "+".join(_plain(_stem(style)) for style in styles),
        "folder": folder,
        "name": _plain(name),
        "ext": _plain(PurePosixPath(name).suffix[1:]),
    }
    tree = "" if "{folder}" in template else folder
    *folders, last = join(tree, template.format_map(fields).lstrip("/")).split("/")
    return "/".join([*(_shortened(part, "") for part in folders if part), _shortened(last, suffix)])


def place_output(directory: StrPath, name: str) -> str:
    """Return the path of an output in the output directory.

    Parameters
    ----------
    directory
        A local path or a URL.
    name
        A path below it; an absolute path or URL if it lies inside. Links are not followed.

    Raises
    ------
    UsageError
        If the output would lie outside the directory, or be no file.
    """
    base = os.fspath(directory)
    below = _below(base, name)
    path = "" if below is None else posixpath.normpath(below)
    if (
        below is None
        or "\0" in name
        or name.endswith("/")
        or path in ("", ".", "..")
        or path.startswith("../")
    ):
        raise UsageError(
            f"the output {name!r} is no file below the output directory {base!r}; give a path relative to that "
            "directory, without '..'."
        )
    return join(base, path)


def _below(base: str, name: str) -> str | None:
    """Return the path relative to `base`, or None if it cannot be below it."""
    if is_url(name):
        return name.removeprefix(base.rstrip("/") + "/") if name.startswith(base.rstrip("/") + "/") else None
    if not name.startswith("/"):
        return name
    return None if is_url(base) else os.path.relpath(name, base)


def _parsed(template: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"the name template {template!r} cannot be read: {error}.") from error


def _stem(path: str) -> str:
    return PurePosixPath(path.partition("::")[0].rpartition("/")[2]).stem


def _plain(name: str) -> str:
    """Replace what a file name cannot hold."""
    return name.replace("/", "_").replace("\0", "_")


def _shortened(name: str, suffix: str) -> str:
    """Return the name with its suffix; a digest stands for the end of one that is too long."""
    whole = name.encode("utf-8", "surrogateescape")
    room = _LONGEST - len(suffix.encode())
    if len(whole) <= room:
        return name + suffix
    kept = whole[: room - _DIGEST - 1].decode("utf-8", "ignore")
    return f"{kept}~{hashlib.sha256(whole).hexdigest()[:_DIGEST]}{suffix}"
