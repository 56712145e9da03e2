"""A run in a few numbers: how many jobs ended how, and which errors came most."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from gluon_nst.batch.last_records import FAILURES, LastRecord
from gluon_nst.jobs import STATUSES, JobResult

__all__ = ["ErrorGroup", "Summary", "error_pattern", "summarize"]

# Messages that agree so far are one kind: the rest is detail, and must not fill the memory.
_COMPARED = 200


@dataclasses.dataclass(frozen=True)
class ErrorGroup:
    """Failures whose messages differ only in names and numbers.

    Attributes
    ----------
    pattern
        What `error_pattern` gives for each of them.
    count
        How many there are.
    example
        The first.
    """

    pattern: str
    count: int
    example: JobResult


@dataclasses.dataclass(frozen=True)
class Summary:
    """A run in a few numbers.

    Attributes
    ----------
    counts
        Jobs by status; every status is there.
    errors
        The most frequent first.
    """

    counts: Mapping[str, int]
    errors: tuple[ErrorGroup, ...]

    @property
    def total(self) -> int:
        """Number of jobs."""
        return sum(self.counts.values())

    @property
    def failures(self) -> int:
        """Number of jobs that were tried and gave no picture."""
        return sum(self.counts[status] for status in FAILURES)


def summarize(records: Iterable[LastRecord]) -> Summary:
    """Count the jobs by status and their errors by kind."""
    counts = Counter(dict.fromkeys(STATUSES, 0))
    patterns: Counter[str] = Counter()
    examples: dict[str, JobResult] = {}
    for result, _, _ in records:
        counts[result.status] += 1
        if result.status in FAILURES:
            pattern = error_pattern(result)
            patterns[pattern] += 1
            examples.setdefault(pattern, result)
    groups = (ErrorGroup(pattern, count, examples[pattern]) for pattern, count in patterns.most_common())
    return Summary(counts, tuple(groups))


def error_pattern(result: JobResult) -> str:
    """Return the error of a job without its file names and numbers, such as "ImageReadError: … is empty (# bytes)"."""
    text = result.error
    names = {result.content, *result.styles, result.output, result.aside} - {""}
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "…")
    return f"{result.error_type or result.status}: {re.sub(r'[0-9]+', '#', text)}"[:_COMPARED]
