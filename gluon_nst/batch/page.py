"""The page of a report: one HTML file that needs nothing but itself.

Everything that comes from outside goes in as text that the template engine escapes, or as JSON in a script
element that is never run. The page's security policy lets nothing run but the one script written here, and
nothing load but pictures in the page and beside it.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from gluon_nst._version import __version__
from gluon_nst.batch.gallery import Gallery
from gluon_nst.batch.last_records import Record
from gluon_nst.batch.run_state import RunState
from gluon_nst.batch.summary import Summary

if TYPE_CHECKING:
    import jinja2

__all__ = ["Page", "render_page"]

_SCRIPTS = ("rows.js", "viewer.js", "choice.js", "report.js")

# Errors listed above the gallery; the rest are few of a kind, and in it.
_ERRORS_LISTED = 12


@dataclasses.dataclass(frozen=True)
class Page:
    """What a page says.

    Attributes
    ----------
    title
        Name of the run.
    gallery, summary, state
        Its jobs, their numbers, and how it goes.
    skipped
        Lines of the journal that were no record.
    about
        The run's identity, as run.json has it.
    tables
        Name of each table, and its relative link from the page; an empty one if there is none.
    reload_seconds
        How often the page loads itself again; None for never.
    """

    title: str
    gallery: Gallery
    summary: Summary
    state: RunState
    skipped: int
    about: Record
    tables: tuple[tuple[str, str], ...]
    reload_seconds: float | None


def render_page(page: Page) -> bytes:
    """Return the page as a file, UTF-8."""
    engine = _engine()
    script = "\n".join(("(() => {", '"use strict";', *map(_template_text, _SCRIPTS), "})();"))
    style = _template_text("report.css")
    text = engine.get_template("report.html").render(
        page=page,
        errors=page.summary.errors[:_ERRORS_LISTED],
        about=json.dumps(page.about, indent=2, ensure_ascii=False) if page.about else "",
        version=__version__,
        script=script,
        script_hash=_hash(script),
        style=style,
        style_hash=_hash(style),
    )
    # Names may hold bytes that are no UTF-8; they are shown, not used.
    return text.encode("utf-8", "replace")


def _engine() -> jinja2.Environment:
    import jinja2

    engine = jinja2.Environment(
        loader=jinja2.PackageLoader("gluon_nst.batch"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters.update(data=_script_data, duration=_duration, whole=lambda number: f"{number:,}")
    return engine


def _template_text(name: str) -> str:
    return (resources.files("gluon_nst.batch") / "templates" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _script_data(value: Any) -> Any:
    """Return JSON that can stand in a script element: ASCII, and without the signs that HTML knows."""
    import markupsafe

    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return markupsafe.Markup(text)


def _duration(seconds: float) -> str:
    """Return a time such as "3 h 05 min", "4 min" or "20 s"."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    if minutes >= 60:
        return f"{minutes // 60:,} h {minutes % 60:02} min"
    return f"{minutes} min" if minutes else f"{rest} s"
