"""The report as one HTML file that needs nothing else: no network, no other file.

Names of classes, images and files come from others. Jinja escapes all that is put into the page, and the data of the
script; a policy in the page's head lets the browser load nothing and run no script but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sppcli import __version__
from sppcli.report.page.content import Content

GENERATOR = "spp report"
"""Names the program in the head of the page: by it a file is known that may be written over."""
_NONE = "\N{EN DASH}"


def render(content: Content) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "percent": _percent, "many": _many}
    script = _template("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template("report.html.j2").render(
        page=content,
        generator=GENERATOR,
        version=__version__,
        style=Markup(_template("report.css")),
        script=Markup(script),
        script_digest=digest,
        data=_data(content),
    )


def _data(content: Content) -> dict[str, object]:
    """What the page's script reads."""
    at = content.thresholds
    return {
        "values": [round(value, 6) for value in at.values],
        "start": at.start,
        "hits": at.hits.tolist(),
        "false": at.false.tolist(),
        "npos": at.npos.tolist(),
        "changes": at.changes,
        "hidden": {str(k): pairs for k, pairs in at.hidden.items()},
    }


def _template(name: str) -> str:
    return (files("sppcli.report.page") / "templates" / name).read_text(encoding="utf-8")


def _figure(value: float | None, digits: int = 3) -> str:
    return _NONE if value is None or value != value else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return _NONE if value is None or value != value else f"{100 * value:.1f}"


def _many(value: int) -> str:
    return f"{value:,}"
