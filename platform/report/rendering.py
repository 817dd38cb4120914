"""A page as one file: its own template and what all pages share, with colours, style and script inside."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from unlatent.platform.report.colours import declarations

HOUSE = "unlatent.platform.report"


def render(package: str, parts: Mapping[str, Any]) -> str:
    """A package's `page.html`, which fills in `base.html`.

    Its `page.css` comes after the house's own; `page.js` is its alone.
    """
    loader = FunctionLoader(lambda name: read(package, name) or read(HOUSE, name))
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    styles = dict.fromkeys([read(HOUSE, "page.css"), read(package, "page.css")])
    inside = {"style": "\n".join(styles), "script": read(package, "page.js"), "colours": declarations()}
    return page.get_template("page.html").render({name: Markup(text) for name, text in inside.items()} | dict(parts))


def read(package: str, name: str) -> str:
    """A file of a package; empty where it has none."""
    file = resources.files(package) / name
    return file.read_text() if file.is_file() else ""
