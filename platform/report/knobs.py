"""What tells the points of a sweep apart."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import yaml

from unlatent.platform.report.points import point_of
from unlatent.platform.schemas import KNOBS, TRAINING

VARIANT = "variant"  # a sweep's own name for settings that go together
ALWAYS_NAMED = ("patch_size", "window", "attention")
FOLLOWING = ("attention_width", "attention_heads")  # knobs that follow from others, where a sweep does not turn them

Settings = dict[str, Any]  # by their paths in a config


def varying_knobs(trials: pd.DataFrame, budget: str | None) -> list[str]:
    """Columns that tell points apart, beside patch size, window and attention.

    The seed is one only in older rows, which do not say what their point is. A budget of computation decides how many
    images a trial sees, so these are none. Where a sweep has names for settings that go together, it is these names,
    and what differs under one name.
    """
    if trials[VARIANT].notna().all() and len(trials):
        alike = [group for _, group in trials.groupby(VARIANT)]
        return [VARIANT, *dict.fromkeys(knob for group in alike for knob in differing(group, [*KNOBS, *TRAINING]))]
    named = ["seed"] if trials["point"].isna().all() else []
    hidden = {*ALWAYS_NAMED, *FOLLOWING, *(["total_images"] if budget == "training_gflops" else [])}
    varying = [knob for knob in differing(trials, [*KNOBS, *TRAINING, *named]) if knob not in hidden]
    return [*varying, *(knob for knob in FOLLOWING if is_turned(trials, knob, varying))]


def is_turned(trials: pd.DataFrame, knob: str, others: list[str]) -> bool:
    """Whether a knob differs where the others do not."""
    groups = trials.groupby([*ALWAYS_NAMED, *others], dropna=False)
    return bool((groups[knob].nunique(dropna=False) > 1).any())


def further_settings(trials: pd.DataFrame, varying: list[str]) -> pd.DataFrame:
    """Settings without a column of `runs`, where columns alone would give points the same name; by their last names."""
    settings: dict[Any, Settings] = {}
    paths: set[str] = set()
    for _, alike in trials.groupby([*ALWAYS_NAMED, *varying], dropna=False):
        if point_of(alike).nunique() > 1:
            settings |= {index: as_settings(text) for index, text in alike["config"].items()}
            paths |= unequal([settings[index] for index in alike.index])
    columns = {}
    for path in sorted(path for path in paths if not path.endswith("_images")):
        name = path.rpartition(".")[2]
        name = path if name in trials or name in columns else name
        columns[name] = [settings.get(index, {}).get(path) for index in trials.index]
    return pd.DataFrame(columns, index=trials.index)


def as_settings(text: Any) -> Settings:
    """The leaves of a config; lists as texts."""
    found = pd.json_normalize(yaml.safe_load(text) if isinstance(text, str) else {}).to_dict("records")
    return {str(path): str(value) if isinstance(value, list) else value for path, value in (found or [{}])[0].items()}


def unequal(settings: list[Settings]) -> set[str]:
    """Paths at which they differ, but for seeds."""
    paths = set().union(*settings) - {"train.seed"}
    return {path for path in paths if len({str(each.get(path)) for each in settings}) > 1}


def differing(rows: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    return [column for column in columns if rows[column].nunique(dropna=False) > 1]
