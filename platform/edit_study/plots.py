"""The curves: how often edits succeed against what they change of the background."""

from collections.abc import Iterator, Sequence
from itertools import cycle, groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from unlatent.models.editing import EditConfig
from unlatent.platform.edit_study.attempts import DERIVED, FREE, MASKED
from unlatent.platform.edit_study.comparing import Answer, Group, in_way, reconstruction
from unlatent.platform.edit_study.study import Outcome
from unlatent.platform.report.colours import SERIES, Colours
from unlatent.platform.report.labels import Points, place_labels
from unlatent.platform.report.picture import Picture
from unlatent.platform.report.scales import tick

SHAPES = "osD^v"
DASHES = ("-", (0, (4, 2)), (0, (1, 2)), (0, (4, 2, 1, 2)))  # of lines, by guidance
TITLES = {FREE: "Free", MASKED: "With a mask", DERIVED: "With a derived mask"}
SMALLEST_SHARE = 0.3  # of the smallest error, where those of exactly 0 are drawn
TICKS = (1, 2, 5)  # in each decade

FREE_CAPTION = (
    "The upper left is best. A number is how many steps were edited; a line joins those of one guidance, solid for the "
    "lowest. Thin bars are 95 % intervals over pairs."
)
ALONE_CAPTION = " Dotted: the background MSE of encode and decode alone."
LEVEL_CAPTION = " Rings and the thin line: what is compared, and the success that both reach."
MASKED_CAPTIONS = {
    MASKED: "The same edits, told the place of the objects. At 0 the background is bit for bit what it was.",
    DERIVED: "The free edits, with all put back that they hardly changed.",
}


def pictures(answer: Answer) -> list[tuple[Picture, str]]:
    """What there is something to see in, with the caption of each."""
    free = FREE_CAPTION
    if any(reconstruction(group.outcomes) for group in answer.groups):
        free += ALONE_CAPTION
    if any(answer.compared.values()):
        free += LEVEL_CAPTION
    found = [(picture(answer, FREE), free)]
    for way, caption in MASKED_CAPTIONS.items():
        masked = [outcome for group in answer.groups for outcome in in_way(group.outcomes, way)]
        if any(outcome.findings.background_mse.value for outcome in masked):  # else all lie at 0
            found.append((picture(answer, way), caption))
    return found


def picture(answer: Answer, way: str) -> Picture:
    shown = [in_way(group.outcomes, way) for group in answer.groups]
    zero = place_of_zero([outcome for outcomes in shown for outcome in outcomes])
    levels = [found.level for (_, of), found in answer.compared.items() if found and of == way]

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot(facecolor="none", xscale="log", ylim=(-4, 104))
        axes.set(xlabel="background MSE", ylabel="edits that succeed, %")
        for level in levels:
            axes.axhline(100 * level, color=colours["line"], lw=0.8, zorder=0)
        lines = []
        for group, outcomes, (colour, shape) in zip(answer.groups, shown, looks(colours), strict=False):
            lines += draw_subject(axes, outcomes, zero, colour, shape)
            draw_alone(axes, group, way, colour)
            for outcome in set(outcomes) & set(answer.in_comparisons(way)):
                ring(axes, place(outcome, zero), colour)
        error_axis(axes, zero)
        marks = np.array([place(outcome, zero) for outcomes in shown for outcome in outcomes])
        place_labels(axes, marks, [str(edit_of(each).n_max) for some in shown for each in some], marks, lines)
        name_subjects(axes, answer.groups, colours)

    described = f"Share of edits that succeed against background MSE: {TITLES[way].lower()}"
    return Picture(f"edits-{way}", TITLES[way], described, draw)


def looks(colours: Colours) -> Iterator[tuple[str, str]]:
    """Colour and shape of each subject's marks."""
    return zip(cycle(colours[name] for name in SERIES), cycle(SHAPES))


def draw_subject(axes: Axes, outcomes: Sequence[Outcome], zero: float, colour: str, shape: str) -> list[Points]:
    """Its marks, joined for each guidance. Returns the lines."""
    lines = []
    for dash, some in zip(cycle(DASHES), by_guidance(outcomes)):
        lines.append(np.array([place(outcome, zero) for outcome in some]))
        axes.plot(*lines[-1].T, color=colour, lw=1.2, ls=dash, zorder=2)
    for outcome in outcomes:
        mark(axes, outcome, zero, colour, shape)
    return lines


def by_guidance(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """From the lowest, each by the number of steps."""
    ordered = sorted(outcomes, key=lambda outcome: (edit_of(outcome).target_guidance, edit_of(outcome).n_max))
    return [list(some) for _, some in groupby(ordered, lambda outcome: edit_of(outcome).target_guidance)]


def edit_of(outcome: Outcome) -> EditConfig:
    assert outcome.attempt.edit is not None, "only edits have settings"
    return outcome.attempt.edit


def place_of_zero(outcomes: Sequence[Outcome]) -> float:
    """Where errors of exactly 0 are drawn on an axis that has no 0: left of all others."""
    errors = [outcome.findings.background_mse.value for outcome in outcomes]
    return SMALLEST_SHARE * min([error for error in errors if error > 0], default=1e-3)


def place(outcome: Outcome, zero: float) -> tuple[float, float]:
    return outcome.findings.background_mse.value or zero, 100 * outcome.findings.success.value


def mark(axes: Axes, outcome: Outcome, zero: float, colour: str, shape: str) -> None:
    """A point, with its intervals along both axes."""
    x, y = place(outcome, zero)
    error, success = outcome.findings.background_mse, outcome.findings.success
    if error.is_known and error.low > 0:
        axes.plot([error.low, error.high], [y, y], color=colour, lw=0.8, alpha=0.6, zorder=1)
    if success.is_known:
        axes.plot([x, x], [100 * success.low, 100 * success.high], color=colour, lw=0.8, alpha=0.6, zorder=1)
    axes.plot(x, y, shape, color=colour, ms=5, zorder=3)


def ring(axes: Axes, spot: tuple[float, float], colour: str) -> None:
    """Around what is compared."""
    axes.plot(*spot, "o", mfc="none", mec=colour, mew=1.2, ms=11, zorder=3)


def draw_alone(axes: Axes, group: Group, way: str, colour: str) -> None:
    alone = reconstruction(group.outcomes)
    if alone and way == FREE and alone.findings.background_mse.value:
        axes.axvline(alone.findings.background_mse.value, color=colour, lw=1, ls=(0, (1, 2)), zorder=1)


def error_axis(axes: Axes, zero: float) -> None:
    """Plain numbers at 1, 2 and 5 of each decade, and 0 where errors of 0 are drawn."""
    low, high = axes.get_xlim()
    has_zero = any(zero in np.atleast_1d(line.get_xdata()) for line in axes.get_lines())
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    subs = TICKS if high < 100 * low else (1,)
    ticks = [sub * 10.0**decade for decade in decades for sub in subs]
    kept = [value for value in ticks if low <= value <= high and not (has_zero and value <= 1.5 * zero)]
    axes.xaxis.set_major_locator(FixedLocator([zero, *kept] if has_zero else kept))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if has_zero and value == zero else tick(value)))


def name_subjects(axes: Axes, groups: Sequence[Group], colours: Colours) -> None:
    """Their names, each with its mark, in lines above the axes."""
    for number, (group, (colour, shape)) in enumerate(zip(groups, looks(colours), strict=False)):
        height = 1.05 + 0.08 * (len(groups) - 1 - number)
        axes.plot(0.02, height, shape, color=colour, ms=5, transform=axes.transAxes, clip_on=False)
        axes.text(0.06, height, group.through, color=colour, va="center", transform=axes.transAxes)
