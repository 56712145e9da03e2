"""The styles that a row of a manifest names, and their weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from gluon_nst.errors import ManifestError

__all__ = ["read_styles"]

_FORMS = '["a.jpg", "b.jpg"] or {"a.jpg": 2, "b.jpg": 1}'


def read_styles(style: Any, styles: Any) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the paths and the blend (empty: evenly) that two cells name.

    Parameters
    ----------
    style
        Path of one image, or a list as in `styles`; None if the cell is empty.
    styles
        JSON text, or what it stands for: a list of paths, a mapping of paths to weights, a list of pairs
        [path, weight], or of mappings with the keys ``style`` and ``weight``. None if the cell is empty.

    Raises
    ------
    ManifestError
        If both are given, or they cannot be meant.
    """
    if style is not None and styles is not None:
        raise ManifestError("it has both style and styles; give one of the two.")
    if isinstance(style, str):
        return (style,), ()
    many = style if styles is None else _parsed(styles)
    if many is None:
        return (), ()
    if not isinstance(many, (Mapping, list)) or not many:
        raise _odd(many)
    # Arrow gives every key of a mapping to every row, with null where a row has none.
    items = (
        [(key, value) for key, value in many.items() if value is not None]
        if isinstance(many, Mapping)
        else many
    )
    return _split([_pair(item) for item in items])


def _parsed(styles: Any) -> Any:
    if not isinstance(styles, str):
        return styles
    try:
        return json.loads(styles)
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"styles is {styles!r}; it takes JSON, such as {_FORMS}. One path goes into the column style."
        ) from error


def _pair(item: Any) -> tuple[str, float | None]:
    if isinstance(item, Mapping) and set(item) <= {"style", "weight"}:
        item = (item.get("style"), item.get("weight"))
    path, weight = item if isinstance(item, (list, tuple)) and len(item) == 2 else (item, None)
    if not isinstance(path, str) or not path:
        raise _odd(item)
    if weight is not None and not _is_weight(weight):
        raise ManifestError(
            f"the weight of the style {path!r} is {weight!r}; it takes a number of 0 or more."
        )
    return path, weight


def _is_weight(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


def _split(pairs: list[tuple[str, float | None]]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    paths, weights = tuple(path for path, _ in pairs), [weight for _, weight in pairs]
    if all(weight is None for weight in weights):
        return paths, ()
    blend = tuple(1.0 if weight is None else float(weight) for weight in weights)
    if not sum(blend):
        raise ManifestError("all its styles have the weight 0; raise one of them.")
    return paths, blend if len(paths) > 1 else ()


def _odd(value: Any) -> ManifestError:
    return ManifestError(f"a style is {value!r}; it takes a path, several are written {_FORMS}.")
