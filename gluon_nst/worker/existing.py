"""Outputs that are there already: whose are they, and are they what a job would make?"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from gluon_nst import storage
from gluon_nst.errors import ImageError, OutputError
from gluon_nst.images.opening import decode, open_header, open_stream
from gluon_nst.images.provenance import provenance_in
from gluon_nst.inputs import Input
from gluon_nst.jobs import Job
from gluon_nst.recipe import recipe_digest

__all__ = ["Existing", "find_existing"]


@dataclasses.dataclass(frozen=True)
class Existing:
    """A picture of ours that is there.

    Attributes
    ----------
    provenance
        What it says of itself.
    width, height, bytes, sha256
        Its size in pixels, its length, its digest.
    whole
        Whether all of it can be decoded. One that was cut off or spoilt since is nobody's result.
    """

    provenance: Mapping[str, Any]
    width: int
    height: int
    bytes: int
    sha256: str
    whole: bool

    def is_result_of(self, key: str) -> bool:
        """Return whether it was made by this very job."""
        return self.whole and self.provenance.get("job_id") == key

    def equals_result_of(self, job: Job, content: Input, styles: Sequence[Input]) -> bool:
        """Return whether this job would make the same: the same pixels in, recipe, parameters and precision.

        So it is for a photograph that was only touched or copied anew since.
        """
        if not self.whole or not job.parameters:
            return False
        precision = self.provenance.get("precision")
        weights = job.blend or (1.0,) * len(styles)
        return job.precision in ("auto", precision) and self._ingredients() == [
            recipe_digest(job.recipe),
            job.parameters,
            content.sha256,
            *((style.sha256, weight) for style, weight in zip(styles, weights, strict=True)),
        ]

    def _ingredients(self) -> list[Any] | None:
        """Return what it was made of; None if it does not say so in our way."""
        made = self.provenance
        try:
            return [
                made["recipe_digest"],
                made["parameters"]["sha256"],
                made["content"]["sha256"],
                *((each["sha256"], each["weight"]) for each in made["styles"]),
            ]
        except (KeyError, TypeError):
            return None


def find_existing(job: Job, *, overwrite: bool) -> Existing | None:
    """Return the picture at a job's output, if gluon_nst made one there.

    Raises
    ------
    OutputError
        If there is a file that gluon_nst did not make, unless it may be overwritten.
    """
    try:
        data = storage.read_bytes(job.output)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot look at {job.output}: {error.strerror or error}") from error
    found = _ours(data, job.output)
    if found is None and not overwrite:
        raise OutputError(
            f"{job.output} exists, and gluon_nst did not make it. Move it away, give another output folder, or "
            "use --existing overwrite."
        )
    return found


def _ours(data: bytes, name: str) -> Existing | None:
    try:
        image = open_stream(io.BytesIO(data), name)
        provenance = provenance_in(image, name)
    except ImageError:
        return None
    if provenance is None:
        return None
    digest = hashlib.sha256(data).hexdigest()
    return Existing(provenance, image.width, image.height, len(data), digest, _is_whole(data, name))


def _is_whole(data: bytes, name: str) -> bool:
    try:
        decode(open_header(data, name, max_pixels=2**62), name)
    except ImageError:
        return False
    return True
