"""The list of jobs of a batch, made from files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from gluon_nst.errors import ImageReadError, UsageError
from gluon_nst.jobs import Job
from gluon_nst.recipe import Recipe

__all__ = ["collect_jobs", "find_pictures"]

# Kinds of files taken from a folder; a file named by itself is taken whatever its name.
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")


def find_pictures(inputs: Iterable[str | os.PathLike[str]]) -> list[tuple[Path, Path]]:
    """Return the pictures among files and folders, as (path, path relative to the folder named), sorted.

    Folders are searched to any depth; hidden files and folders are left out.

    Raises
    ------
    ImageReadError
        If an input does not exist, or there is no picture in all of them.
    """
    found: list[tuple[Path, Path]] = []
    for each in inputs:
        path = Path(each)
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if _is_picture(entry, path))
            found += [(entry, entry.relative_to(path)) for entry in inside]
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise ImageReadError(f"there is no file or folder {str(path)!r}.")
    if not found:
        raise ImageReadError(
            f"there is no picture in {', '.join(map(str, inputs))}; pictures end in {', '.join(PICTURE_SUFFIXES)}."
        )
    return found


def collect_jobs(
    inputs: Sequence[str | os.PathLike[str]],
    styles: Sequence[str],
    output: str | os.PathLike[str],
    recipe: Recipe,
    *,
    suffix: str = ".jpg",
    weights: str = "bundled",
    device: str = "auto",
    precision: str = "auto",
) -> list[Job]:
    """Return one job for every picture and every style: ``OUTPUT/TREE/CONTENT__STYLE.SUFFIX``.

    Raises
    ------
    UsageError
        If two jobs would write the same file.
    """
    jobs = [
        Job(
            str(path), (style,), str(Path(output) / relative.parent / f"{relative.stem}__{Path(style).stem}{suffix}"),
            recipe, weights=weights, device=device, precision=precision,
        )
        for path, relative in find_pictures(inputs)
        for style in styles
    ]  # fmt: skip
    _check_clashes(jobs)
    return jobs


def _check_clashes(jobs: Iterable[Job]) -> None:
    seen: dict[str, Job] = {}
    for job in jobs:
        other = seen.setdefault(job.output, job)
        if other is not job:
            raise UsageError(
                f"{other.content} and {job.content} would both be written to {job.output}. Rename one, or give them "
                "different output folders."
            )


def _is_picture(entry: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in entry.relative_to(root).parts)
    return not hidden and entry.suffix.lower() in PICTURE_SUFFIXES and entry.is_file()
