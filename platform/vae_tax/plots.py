"""The curves: letters read by their size, energy lost by frequency; both beside the path through pixels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from unlatent.platform.intervals import Interval
from unlatent.platform.report.colours import Colours
from unlatent.platform.report.labels import spread
from unlatent.platform.report.picture import Picture
from unlatent.platform.vae_tax.findings import Findings

PIXELS, AUTOENCODER = "series-0", "series-1"  # colours
NAMES = {PIXELS: "pixels", AUTOENCODER: "autoencoder"}
ROOM = 1.05  # of what a curve may reach, that an axis shows
MOST_SHOWN = 2.5  # of a band's energy: an error beyond it lies outside the picture


def pictures(findings: Findings) -> list[tuple[Picture, str]]:
    """What there are points enough for, with the caption of each."""
    found = []
    if len(findings.texts) > 1:
        found.append((text_picture(findings), TEXT_CAPTION))
    if sum(not band.is_empty for band in findings.bands) > 1:
        beyond = any(band.lost.value > MOST_SHOWN for band in findings.bands)
        found.append((detail_picture(findings), DETAIL_CAPTION + BEYOND_CAPTION * beyond))
    return found


TEXT_CAPTION = (
    "Letters read right, by the height of a capital. Bars are 95 % intervals over images. Dotted: what is guessed "
    "where no text was."
)
DETAIL_CAPTION = (
    "Energy of the error as a share of the image's own, by how many pixels a cycle from light to dark and back is "
    "long: coarse structure on the left, the finest detail on the right. At 100 % nothing of the image's own is left."
)
BEYOND_CAPTION = f" What is above {100 * MOST_SHOWN:.0f} % lies outside the picture, and is in the table."


def text_picture(findings: Findings) -> Picture:
    texts = findings.texts
    sizes = np.array([text.letter_pixels for text in texts], float)

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot(facecolor="none")
        chance = [100 * text.chance.value for text in texts]
        axes.plot(sizes, chance, color=colours["quiet"], lw=1, ls=(0, (1, 2)), zorder=1)
        curve(axes, sizes, [text.pixels for text in texts], colours[PIXELS], "o")
        curve(axes, sizes, [text.autoencoder for text in texts], colours[AUTOENCODER], "s")
        pixel_axis(axes, sizes)
        axes.set(xlabel="height of a capital, pixels", ylabel="letters read right, %", ylim=(0, 100 * ROOM))
        last = texts[-1]
        name_ends(axes, sizes[-1], last.pixels.value, last.autoencoder.value, colours)

    return Picture("text", "Text", "Share of letters read right by their size, through pixels and autoencoder", draw)


def detail_picture(findings: Findings) -> Picture:
    bands = [band for band in findings.bands if not band.is_empty]
    periods = np.array([band.period for band in bands])

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot(facecolor="none")
        lost = [band.lost for band in bands]
        axes.plot(periods, np.zeros(len(periods)), color=colours[PIXELS], lw=1.4, clip_on=False)
        curve(axes, periods, lost, colours[AUTOENCODER], "s")
        octaves = 2.0 ** np.arange(np.ceil(np.log2(periods.min())), np.log2(periods.max()) + 1)
        pixel_axis(axes, octaves)
        most = min(MOST_SHOWN, max(1.0, *(each.value for each in lost)))
        axes.set(xlabel="pixels of a cycle", ylabel="energy of the error, % of the image's")
        axes.set_ylim(0, 100 * ROOM * most)
        axes.set_xlim(periods.max() * 1.1, periods.min() / 1.1)
        axes.axhline(100, color=colours["line"], lw=0.8, zorder=0)
        name_ends(axes, periods[-1], 0.0, min(most, lost[-1].value), colours)

    return Picture("detail", "Detail", "Energy of the error as a share of the image's, by spatial frequency", draw)


def curve(axes: Axes, places: np.ndarray, values: Sequence[Interval], colour: str, shape: str) -> None:
    """Points in per cent, joined, with the interval of each."""
    for place, each in zip(places, values, strict=True):
        if each.is_known:
            axes.plot([place, place], [100 * each.low, 100 * each.high], color=colour, lw=1, zorder=2)
    axes.plot(places, [100 * each.value for each in values], f"{shape}-", color=colour, lw=1.4, ms=4.5, zorder=3)


def pixel_axis(axes: Axes, ticks: np.ndarray) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def name_ends(axes: Axes, place: float, pixels: float, autoencoder: float, colours: Colours) -> None:
    ends = np.array([[place, 100 * pixels], [place, 100 * autoencoder]])
    spread(axes, ends, list(NAMES.values()), [colours[name] for name in NAMES])
