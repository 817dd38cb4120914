"""Axes that a reader takes in at a glance."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from unlatent.platform.report.wording import number

LOG_TICKS = {
    0: (1, 1.5, 2, 3, 5, 7),
    1: (1, 2, 5),
    2: (1, 3),
}  # decades that an axis spans -> ticks in each; beyond, one


def scale(axis: Axis, values: Sequence[float] | pd.Series, set_scale: Callable[[str], None]) -> None:
    """A logarithmic axis where values span more than a factor of three, with plain numbers at its ticks."""
    low, high = float(np.min(values)), float(np.max(values))
    if is_wide(low, high):
        set_scale("log")
        axis.set_major_locator(LogLocator(subs=LOG_TICKS.get(int(math.log10(high / low)), (1,))))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def is_wide(low: float, high: float) -> bool:
    return low > 0 and high > 3 * low


def tick(value: float) -> str:
    return number(value, 3).rstrip("0").rstrip(".") if "." in number(value, 3) else number(value, 3)
