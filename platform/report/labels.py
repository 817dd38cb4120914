"""Labels beside points, where they cover neither each other nor the points."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, 2)
Box = tuple[float, float, float, float]  # left, bottom, right, top; in points of the figure

FONT_SIZE, REACH, FAR = 9.0, 6.0, 1000.0  # points; the reach of a mark, and of a label from it
PLACES = {  # of a label around its point: sides (-1, 0, 1), the nearest to what one expects first
    (1, 0): "left",
    (0, 1): "center",
    (0, -1): "center",
    (-1, 0): "right",
    (1, 1): "left",
    (1, -1): "left",
    (-1, 1): "right",
    (-1, -1): "right",
}


def place_labels(axes: Axes, points: Points, texts: Sequence[str], marks: Points, lines: Sequence[Points]) -> None:
    """Writes a label beside each point; off all marks, lines and axes where it can."""
    settle(axes)
    anchors = in_points(axes, points)
    taken = [around(mark, REACH) for mark in in_points(axes, marks)]
    (left, bottom), (_, top) = in_points(axes, np.column_stack([axes.get_xlim(), axes.get_ylim()]))
    taken.append((left - FAR, bottom - FAR, left, top + FAR))  # where the axis has its numbers
    taken.append((left - FAR, bottom - FAR, left + FAR, bottom))
    taken += [around(spot, 1.5) for line in lines for spot in spots(in_points(axes, line))]
    for (x, y), point, text in zip(anchors, points, texts, strict=True):
        boxes = {place: box_at(x, y, place, text) for place in PLACES}
        place = min(boxes, key=lambda place: sum(overlap(boxes[place], other) for other in taken))
        taken.append(boxes[place])
        offset = ((REACH + 1) * place[0], (REACH + 1) * place[1])
        vertical = {-1: "top", 0: "center", 1: "bottom"}[place[1]]
        axes.annotate(
            text, point, offset, textcoords="offset points", ha=PLACES[place], va=vertical, size=FONT_SIZE, zorder=4
        )


def settle(axes: Axes) -> None:
    """Lays the figure out, so that places in it are known; until limits or texts change."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()


def in_points(axes: Axes, points: Points) -> Points:
    """Where data lie in a settled figure."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return axes.transData.transform(points) * 72 / figure.dpi


def around(point: Points, reach: float) -> Box:
    x, y = point
    return x - reach, y - reach, x + reach, y + reach


def spots(line: Points) -> Points:
    """Points along a line through the given ones, close enough that no label slips between them."""
    return np.concatenate([np.linspace(a, b, 2 + int(np.hypot(*(b - a)) / 3)) for a, b in pairwise(line)] or [line])


def box_at(x: float, y: float, place: tuple[int, int], text: str) -> Box:
    width, height = 0.56 * FONT_SIZE * len(text), 1.1 * FONT_SIZE
    left = {-1: x - REACH - width, 0: x - width / 2, 1: x + REACH}[place[0]]
    bottom = {-1: y - REACH - height, 0: y - height / 2, 1: y + REACH}[place[1]]
    return left, bottom, left + width, bottom + height


def overlap(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def spread(axes: Axes, ends: Points, texts: Sequence[str], colours: Sequence[str]) -> None:
    """Writes labels in a column at the right, each as near to the end of its curve as the others leave room for."""
    settle(axes)
    right, heights = ends[:, 0].max(), in_points(axes, ends)[:, 1]
    order = np.argsort(heights)
    bottom = in_points(axes, np.array([[right, axes.get_ylim()[0]]]))[0, 1] + FONT_SIZE / 2
    places = apart(heights[order], 1.2 * FONT_SIZE)
    places += max(0.0, bottom - places[0])  # where the axis has its numbers
    for index, place in zip(order, places, strict=True):
        axes.annotate(
            texts[index],
            (right, ends[index, 1]),
            (10, place - heights[index]),
            textcoords="offset points",
            va="center",
            color=colours[index],
            size=FONT_SIZE,
            annotation_clip=False,
        )


def apart(heights: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Rising heights at least a gap apart, moved up or down as little as that takes, all together."""
    places = heights.copy()
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    return places - (places - heights).mean()
