"""Numbers, times and settings as a reader wants them."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from unlatent.platform.intervals import Interval

NOTHING = "–"
PLUS_MINUS = "\u00a0±\u00a0"

METRICS = {  # name -> title, what it tells
    "fid": ("FID", "distance between the features of real and generated images; 0 is best"),
    "kid": ("KID", "the same distance by a kernel, unbiased in the number of images; 0 is best"),
    "class_agreement": ("Class agreement", "share of images that the classifier takes for the class asked for"),
    "precision": ("Precision", "share of generated images that lie among the real ones"),
    "recall": ("Recall", "share of real images that lie among the generated ones"),
    "nearest_neighbour": (
        "Nearest neighbour",
        "mean distance to the nearest training image; near 0, images are copies",
    ),
    "nearest_neighbour_held_out": (
        "… of held-out images",
        "the same distance for real images that were not trained on",
    ),
    "patch_period_energy": (
        "Patch period",
        "contrast that repeats with every patch, relative to real images; 1 is theirs",
    ),
    "geneval": ("GenEval", "mean over its categories of the share of images that show the objects asked for"),
    "dpg": ("DPG-Bench", "percentage of questions about dense prompts that the images answer as they should"),
    "seconds_per_image": ("Seconds per image", "to draw one, in the evaluation's batches"),
}


def metric_title(metric: str) -> str:
    return METRICS[metric][0] if metric in METRICS else metric.replace("_", " ")


def metric_in_words(metric: str) -> str:
    """The title as it stands within a sentence."""
    title = metric_title(metric)
    return title if title.isupper() else title.lower()


def metric_meaning(metric: str) -> str:
    return METRICS[metric][1] if metric in METRICS else ""


def is_missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def number(value: Any, digits: int = 3) -> str:
    """A number to so many significant digits, its whole part in full."""
    if is_missing(value):
        return NOTHING
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -5:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def count(value: Any) -> str:
    return NOTHING if is_missing(value) else f"{int(value):,}"


def share(value: Any, decimals: int = 1) -> str:
    """A share in per cent, with a space that does not break."""
    return NOTHING if is_missing(value) else f"{100 * value:.{decimals}f}\u00a0%"


def between(interval: Interval) -> str:
    """`27.3 (26.8–27.9)`."""
    if not interval.is_known:
        return number(interval.value)
    return f"{number(interval.value)} ({number(interval.low)}–{number(interval.high)})"


def percent(interval: Interval) -> str:
    """`98.1 % (96.0–99.2)`."""
    text = share(interval.value)
    return f"{text} ({100 * interval.low:.1f}–{100 * interval.high:.1f})" if interval.is_known else text


def moment(value: Any) -> str:
    return NOTHING if is_missing(value) else f"{value:%Y-%m-%d %H:%M} UTC"


def metric_value(metric: str, value: Any) -> str:
    return share(value) if metric in {"class_agreement", "precision", "recall"} else number(value)


def with_deviation(metric: str, value: Any, deviation: Any) -> str:
    """`1.27 ± 0.05`: a mean over seeds, and the sample deviation where there are several."""
    text = metric_value(metric, value)
    if is_missing(deviation) or is_missing(value):
        return text
    digits, space, percent = text.partition("\u00a0")
    return f"{digits}{PLUS_MINUS}{as_fine_as(metric, value, deviation).removesuffix(space + percent)}{space}{percent}"


def as_fine_as(metric: str, value: Any, difference: float) -> str:
    """A difference to the decimals that a value of the metric has; to its first digit, where that would be none."""
    digits, space, percent = metric_value(metric, value).partition("\u00a0")
    scaled = 100 * difference if percent else difference
    decimals = len(digits.partition(".")[2])
    text = f"{scaled:,.{decimals}f}" if round(scaled, decimals) else number(scaled, 1)
    return f"{text}{space}{percent}"


def plain(value: Any) -> str:
    """Any value of a table as text."""
    if is_missing(value):
        return NOTHING
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else plain(value)


def plural(many: int, noun: str) -> str:
    return f"{many:,} {noun}" + ("" if many == 1 else "s")


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([*([", ".join(parts[:-1])] if parts[:-1] else []), *parts[-1:]])


def setting(run: Mapping[str, Any], others: Sequence[str] = ()) -> str:
    """A run's place in a sweep, short enough for a label: `p4/w2`, `p4, no attention`, or the name of its variant."""
    if run["pixel_depth"] == 0:
        compaction = ", no pixel level"
    else:
        compaction = f"/w{plain(run['window'])}" if run["attention"] else ", no attention"
    first = run["variant"] if "variant" in others else f"p{plain(run['patch_size'])}{compaction}"
    return " ".join([first, *(f"{name}={short(run[name])}" for name in others if name != "variant")])


def setting_in_words(run: Mapping[str, Any], others: Sequence[str] = ()) -> str:
    if run["pixel_depth"] == 0:
        compaction = "without a pixel level"
    elif run["attention"]:
        compaction = f"with compaction window {plain(run['window'])}"
    else:
        compaction = "without attention between pixel tokens"
    size = f"patch size {plain(run['patch_size'])} {compaction}"
    parts = [
        f"“{run['variant']}”" if "variant" in others else size,
        *(f"{name.replace('_', ' ')} {short(run[name])}" for name in others if name != "variant"),
    ]
    return ", ".join(parts)
