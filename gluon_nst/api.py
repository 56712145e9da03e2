"""The Python interface: pictures in, results out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gluon_nst._version import __version__
from gluon_nst.checkpoint import Checkpoint, Tick, ignore_tick
from gluon_nst.images.geometry import resize
from gluon_nst.inputs import Input, PictureLike, take_input
from gluon_nst.progress import REPORT_EVERY, Observer, ignore_progress
from gluon_nst.recipe import Recipe, recipe_digest, recipe_mapping
from gluon_nst.recipe_files import load_recipe, tailor
from gluon_nst.result import Result

if TYPE_CHECKING:
    from gluon_nst.stylizer import Stylized, Stylizer

__all__ = ["make_stylizer", "stylize", "stylize_inputs"]


def stylize(
    content: PictureLike,
    style: PictureLike | Sequence[PictureLike],
    *,
    recipe: str | os.PathLike[str] | Recipe = "default",
    size: int | str | None = None,
    steps: int | None = None,
    blend: Sequence[float] | None = None,
    start: PictureLike | None = None,
    device: str = "auto",
    precision: str = "auto",
    weights: str = "bundled",
    max_memory: str = "",
    keep_gps: bool = False,
    observe: Observer = ignore_progress,
    every: int = REPORT_EVERY,
    **fields: object,
) -> Result:
    """Stylize one picture.

    Parameters
    ----------
    content
        A path, an array (H, W, 3) uint8 RGB, or a Pillow image.
    style
        One such picture, or a list of them to blend.
    recipe
        Name, path of a TOML file, or a Recipe.
    size
        Longer side of the result in pixels; "original" keeps the content's size; None leaves the recipe's.
    steps
        Steps at the last scale; coarser scales keep their proportion to it. None leaves the recipe's.
    blend
        Weight of each style picture; None blends them evenly.
    start
        Picture to start from, with `init="image"`.
    device, precision
        "auto", "cpu", "gpu:0", ...; "auto", "float32", "bfloat16" (CPU) or "tf32" (GPU).
    weights
        Parameters: "bundled", "zoo", or the path of a .params file.
    max_memory
        What may be taken, as "6GB" or "80%" of what is free; larger pictures are worked on in tiles. Empty: 90 %.
    keep_gps
        Keep the content's place of capture in the result's EXIF.
    observe, every
        Called with a `Progress` and a function that gives the pictures as they are, after every so many steps.
    fields
        Any field of the recipe, such as ``style_weight=2``.

    Returns
    -------
    Result
        Picture, losses, provenance. It is not saved; call its `save`.

    Raises
    ------
    GluonNSTError
        One of its kinds, see `gluon_nst.errors`.

    Examples
    --------
    >>> import gluon_nst
    >>> result = gluon_nst.stylize("photo.jpg", "painting.jpg", size=384)  # doctest: +SKIP
    >>> result.save("stylized.png")  # doctest: +SKIP
    """
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    chosen = tailor(chosen, size=size, steps=steps, **fields)
    styles = list(style) if isinstance(style, (list, tuple)) else [style]
    inputs = [take_input(each, keep_gps=keep_gps) for each in (content, *styles)]
    begin = None if start is None else take_input(start)
    stylizer = make_stylizer(
        chosen, device=device, precision=precision, weights=weights, max_memory=max_memory
    )
    starts = None if begin is None else [begin]
    return stylize_inputs(
        stylizer, inputs[:1], inputs[1:], blend=blend, starts=starts, observe=observe, every=every
    )[0]


def make_stylizer(
    recipe: Recipe,
    *,
    device: str = "auto",
    precision: str = "auto",
    weights: str = "bundled",
    max_memory: str = "",
) -> Stylizer:
    """Return a Stylizer; this is where MXNet is loaded."""
    from gluon_nst.parameters import load_parameters
    from gluon_nst.stylizer import Stylizer

    parameters = load_parameters(weights, recipe.network)
    return Stylizer(recipe, parameters, device=device, precision=precision, max_memory=max_memory)


def stylize_inputs(
    stylizer: Stylizer,
    contents: Sequence[Input],
    styles: Sequence[Input],
    *,
    blend: Sequence[float] | None = None,
    starts: Sequence[Input] | None = None,
    observe: Observer = ignore_progress,
    every: int = REPORT_EVERY,
    resume: Checkpoint | None = None,
    tick: Tick = ignore_tick,
) -> list[Result]:
    """Stylize pictures of one shape together with a warm Stylizer; see `Stylizer.stylize`."""
    stylized = stylizer.stylize(
        [each.picture.pixels for each in contents],
        [each.picture.pixels for each in styles],
        blend=blend,
        starts=None if starts is None else [each.picture.pixels for each in starts],
        observe=observe,
        every=every,
        resume=resume,
        tick=tick,
    )
    return [
        _result(stylizer, content, styles, blend, done)
        for content, done in zip(contents, stylized, strict=True)
    ]


def _result(
    stylizer: Stylizer, content: Input, styles: Sequence[Input], blend: Sequence[float] | None, done: Stylized
) -> Result:
    alpha = content.picture.alpha
    return Result(
        pixels=done.pixels,
        alpha=None if alpha is None else resize(alpha, *done.pixels.shape[:2]),
        exif=content.picture.exif,
        losses=done.losses,
        steps=done.steps,
        seconds=done.seconds,
        stop_reason=done.stop_reason,
        provenance=_provenance(stylizer, content, styles, blend, done),
        notes=(
            *stylizer.notes,
            *(f"{each.name}: {note}" for each in (content, *styles) for note in each.picture.note),
        ),
    )


def _provenance(
    stylizer: Stylizer, content: Input, styles: Sequence[Input], blend: Sequence[float] | None, done: Stylized
) -> dict[str, Any]:
    """Return where a picture came from. No times: the same work gives the same bytes."""
    from gluon_nst import backend

    weights = [1.0] * len(styles) if blend is None else blend
    return {
        "program": "gluon_nst",
        "version": __version__,
        "mxnet": backend.version(),
        "device": done.device.partition(":")[0],
        "precision": done.precision,
        "content": {"name": content.name, "sha256": content.sha256},
        "styles": [
            {"name": style.name, "sha256": style.sha256, "weight": weight}
            for style, weight in zip(styles, weights, strict=True)
        ],
        "parameters": {"source": stylizer.parameters.source, "sha256": stylizer.parameters.sha256},
        "recipe_digest": recipe_digest(stylizer.recipe),
        "recipe": recipe_mapping(stylizer.recipe),
        "steps": done.steps,
        "stop_reason": done.stop_reason,
    }
