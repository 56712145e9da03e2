"""From what a person asks for to jobs: every picture times every style, or every row of a manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gluon_nst.batch.look_ahead import Looker, in_order
from gluon_nst.batch.manifest import Row, read_manifest
from gluon_nst.batch.naming import DEFAULT_NAME, check_name, output_name, place_output
from gluon_nst.batch.shards import in_shard
from gluon_nst.batch.sources import Source, find_pictures
from gluon_nst.errors import UsageError
from gluon_nst.jobs import Job
from gluon_nst.recipe import Recipe
from gluon_nst.storage import absolute

__all__ = ["BatchRequest", "Candidate", "Tally", "collect_jobs"]


@dataclasses.dataclass(frozen=True)
class BatchRequest:
    """What a batch is to do.

    Attributes
    ----------
    inputs, manifest
        Files, folders, globs and URLs of content images; or else the file that lists the jobs.
    styles
        Files, folders, globs and URLs of style images. With a manifest: those of the rows that name none.
    output
        Output directory, or its URL.
    recipe
        What to do; a manifest changes it row by row.
    blend
        Weights of the styles: all of them are mixed in one picture. Empty: every style gives its own.
    suffix
        Kind of file written, with its dot, where a manifest does not say.
    name
        Template of the outputs' names, as `gluon_nst.batch.naming.check_name` takes it.
    weights, parameters, device, precision
        As in `gluon_nst.jobs.Job`.
    shard
        (K, N) for part K of N, from 1, see `gluon_nst.batch.shards`; only its own content images are looked at.
        None is all.
    """

    inputs: tuple[str, ...]
    styles: tuple[str, ...]
    output: str
    recipe: Recipe
    manifest: str | None = None
    blend: tuple[float, ...] = ()
    suffix: str = ".jpg"
    name: str = DEFAULT_NAME
    weights: str = "bundled"
    parameters: str = ""
    device: str = "auto"
    precision: str = "auto"
    shard: tuple[int, int] | None = None


class Candidate(NamedTuple):
    """A job, and what the plan needs to know of it.

    Attributes
    ----------
    job
        The job, with its fingerprints.
    shape
        (height, width) of the upright content image, in pixels; None if its header cannot be read, of which the
        worker will say why.
    origin
        Where it comes from, for a person: the content's path, or "line 12 of jobs.csv".
    """

    job: Job
    shape: tuple[int, int] | None
    origin: str


@dataclasses.dataclass
class Tally:
    """What `collect_jobs` left out.

    Attributes
    ----------
    stylized
        Pictures found in folders or by globs that this program made.
    """

    stylized: int = 0


class _Wish(NamedTuple):
    """A content image, and the manifest's row that names it, if any."""

    source: Source
    row: Row | None


class _Order(NamedTuple):
    """A content image, and the jobs to do with it, which lack their fingerprints."""

    wish: _Wish
    jobs: list[Job]


def collect_jobs(request: BatchRequest, tally: Tally | None = None) -> Iterator[Candidate]:
    """Yield the jobs of a batch, in the order of the inputs and styles, or of the manifest.

    The headers of the content images are read on the way, by a few threads. Pictures that this program made are
    skipped where they come from folders or globs. Equal recipes are one object. Doubled jobs and outputs that
    clash are not looked for. Local paths in the jobs are absolute.

    Parameters
    ----------
    request
        What is asked for.
    tally
        Told what was skipped.

    Raises
    ------
    UsageError
        If the request cannot be meant. `ManifestError`: or its manifest.
    ImageReadError
        If an input or a style does not exist, or there is no picture in them.
    """
    _check(request)
    request = _anchored(request)
    styles = [style.path for style in find_pictures(request.styles)] if request.styles else []
    if request.blend and len(request.blend) != len(styles):
        raise UsageError(
            f"there are {len(request.blend)} weights for {len(styles)} styles; give one weight for each style."
        )
    return _candidates(request, _wishes(request), styles, Tally() if tally is None else tally)


def _check(request: BatchRequest) -> None:
    check_name(request.name)
    if bool(request.inputs) == bool(request.manifest):
        raise UsageError("a batch takes either inputs or a manifest; give one of the two.")
    if not request.styles and not request.manifest:
        raise UsageError("a batch of inputs takes at least one style; name an image with --style.")


def _anchored(request: BatchRequest) -> BatchRequest:
    """Make local paths absolute: workers may have other working directories."""
    return dataclasses.replace(
        request, inputs=tuple(map(absolute, request.inputs)), styles=tuple(map(absolute, request.styles)),
        output=absolute(request.output),
    )  # fmt: skip


def _wishes(request: BatchRequest) -> Iterator[_Wish]:
    if request.manifest is None:
        found = find_pictures(request.inputs, skip=request.output)
        return (_Wish(source, None) for source in found)
    rows = read_manifest(
        request.manifest, recipe=request.recipe, output=request.output, needs_style=not request.styles
    )
    return (_Wish(Source(row.content, row.relative, None, named=True), row) for row in rows)


def _candidates(
    request: BatchRequest, wishes: Iterable[_Wish], styles: Sequence[str], tally: Tally
) -> Iterator[Candidate]:
    looker = Looker()
    for (wish, jobs), look in in_order(
        lambda order: looker.look(order.wish.source), _orders(request, wishes, styles)
    ):
        if look.header is not None and look.header.stylized and not wish.source.named:
            tally.stylized += 1
            continue
        for job in jobs:
            marks = (look.fingerprint, *map(looker.mark, job.styles))
            yield Candidate(dataclasses.replace(job, fingerprints=marks), look.shape, _origin(wish))


def _orders(request: BatchRequest, wishes: Iterable[_Wish], styles: Sequence[str]) -> Iterator[_Order]:
    """Yield what belongs to the shard: looking at the images of all others would take most of a start's time."""
    for wish in wishes:
        jobs = [job for job in _jobs(request, wish, styles) if in_shard(job.output, request.shard)]
        if jobs:
            yield _Order(wish, jobs)


def _origin(wish: _Wish) -> str:
    return wish.source.path if wish.row is None else wish.row.origin


def _jobs(request: BatchRequest, wish: _Wish, styles: Sequence[str]) -> Iterator[Job]:
    """Yield the jobs of one content image, without their fingerprints."""
    row = wish.row
    if row is not None and row.styles:
        groups: Iterable[tuple[str, ...]] = [row.styles]
        blend = row.blend
    else:
        groups = [tuple(styles)] if request.blend else [(style,) for style in styles]
        blend = request.blend
    recipe = request.recipe if row is None else row.recipe
    # The sha256 that was given is that of the batch's own network.
    known = recipe.network == request.recipe.network
    for group in groups:
        output = row.output if row is not None else None
        yield Job(
            wish.source.path, group, output or _output(request, wish.source.relative, group), recipe, blend,
            weights=request.weights, device=request.device, precision=request.precision,
            parameters=request.parameters if known else "",
        )  # fmt: skip


def _output(request: BatchRequest, relative: str, styles: Sequence[str]) -> str:
    return place_output(request.output, output_name(request.name, relative, styles, request.suffix))
