"""Whether a worker makes the pictures that the others make."""

from __future__ import annotations

from collections.abc import Mapping

from gluon_nst.versions import installed_versions, same_release

__all__ = ["Peers"]


class Peers:
    """Holds workers against the process that runs the batch.

    Parameters
    ----------
    expected
        Name -> version; what is installed here by default. What is not in it, as MXNet is not where only workers
        have it, the first worker decides.
    """

    def __init__(self, expected: Mapping[str, str] | None = None) -> None:
        self._expected = dict(installed_versions() if expected is None else expected)

    def fault_of(self, versions: Mapping[str, str]) -> str:
        """Return why a worker with these versions may not join; empty if it may."""
        others = [
            f"{name} {version}, not {self._expected[name]} as the batch has"
            for name, version in versions.items()
            if not same_release(version, self._expected.setdefault(name, version))
        ]
        return f"it has {' and '.join(others)}: its pictures would differ" if others else ""
