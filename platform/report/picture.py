"""A picture of the report: as SVG that stands inside the page in the page's fonts and colours, or as PNG on white."""

import html
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from unlatent.platform.report.colours import ON_WHITE, STAND_INS, Colours, as_variables, style

SIZE = (4.3, 3.2)  # inches of 72 points; the page draws a point 1.5 pixels wide, 1.1 on a telephone
PNG_DPI = 300
LINE = 0.09  # inches of small print


@dataclass(frozen=True)
class Picture:
    """What `draw` draws. Marks whose URL is a key of `links` are links within the page, and say that key's text."""

    name: str  # of its file
    title: str
    description: str
    draw: Callable[[Figure, Colours], None]
    size: tuple[float, float] = SIZE
    links: Mapping[str, str] = field(default_factory=dict)

    def svg(self) -> Markup:
        """An element of a page that gives it its width."""
        document = io.StringIO()
        with matplotlib.rc_context({**style(STAND_INS), "svg.hashsalt": self.description}):
            figure = self.drawn(STAND_INS, "none")
            figure.savefig(document, format="svg", metadata={"Date": None, "Creator": None})
        return Markup(self.as_element(document.getvalue()))

    def png(self, note: str = "") -> bytes:
        """On white, with what its numbers depend on in small print below."""
        document = io.BytesIO()
        with matplotlib.rc_context(style(ON_WHITE)):
            figure = self.drawn(ON_WHITE, "white", note)
            figure.savefig(document, format="png", dpi=PNG_DPI)
        return document.getvalue()

    def drawn(self, colours: Colours, background: str, note: str = "") -> Figure:
        figure = Figure(figsize=self.size, facecolor=background, layout="constrained")
        self.draw(figure, colours)
        if note:
            strip = (1 + note.count("\n")) * LINE / self.size[1]
            figure.text(0.01, 0.3 * strip, note, size=5, color=colours["quiet"], va="bottom")
            figure.set_layout_engine("constrained", rect=(0, 1.3 * strip, 1, 1 - 1.3 * strip))
        return figure

    def as_element(self, document: str) -> str:
        svg = document[document.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # several figures would repeat them
        svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
        svg = re.sub(r'<a xlink:href="([^"]*)" target="_blank">', self.link, svg)
        role = "group" if self.links else "img"  # what is within an image is read to nobody
        described = f'<svg role="{role}" aria-label="{html.escape(self.description)}"'
        return as_variables(svg).replace("<svg", described, 1)

    def link(self, found: re.Match[str]) -> str:
        return f'<a class="point" href="{found[1]}" aria-label="{html.escape(self.links[found[1]])}">'
