"""Points of a sweep: runs that differ in their seed alone, as one row with means over the seeds and their deviation."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

Row = dict[str, Any]

AVERAGED = ("images_per_s", "training_gflops")  # columns of `runs` that are measured, or follow from how far a run came


def deviation_of(column: str) -> str:
    """The column with the sample standard deviation of another over the seeds; null for one seed."""
    return f"{column}_deviation"


def group_points(trials: pd.DataFrame, metrics: Sequence[str], metric: str) -> pd.DataFrame:
    """A row for each point: that of its first run, and the means over its seeds in the place of what was measured.

    Where runs came to their end and were measured, the means are over these alone. `trials` has the best first.
    """
    measured = [*metrics, *AVERAGED]
    rows = [point_row(runs, measured, metric) for _, runs in trials.groupby(point_of(trials), sort=False)]
    columns = [*trials.columns, *map(deviation_of, measured), "seeds", "runs", "states"]
    return pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))


def point_of(trials: pd.DataFrame) -> pd.Series:
    """What names the point of each run; in older rows, which do not say, every run is one."""
    return trials["point"].where(trials["point"].notna(), trials["run_id"])


def point_row(runs: pd.DataFrame, measured: Sequence[str], metric: str) -> Row:
    ended = runs[(runs["status"] == "succeeded") & runs[metric].notna()]
    counted = ended if len(ended) else runs
    values = counted[list(measured)].astype(float)
    return {
        **record(runs.iloc[0]),
        **record(values.mean()),
        **record(values.std().rename(deviation_of)),
        "seeds": len(ended),
        "runs": len(runs),
        "states": states_in_words(runs["status"]),
    }


def states_in_words(statuses: pd.Series) -> str:
    """`succeeded`, or how many runs are in each state where they differ."""
    counted = Counter(str(status).replace("_", " ") for status in statuses).most_common()
    return counted[0][0] if len(counted) == 1 else ", ".join(f"{many} {state}" for state, many in counted)


def best_first(rows: pd.DataFrame, metric: str, direction: str) -> pd.DataFrame:
    """Those that came to their end by their objective, then the others; within each, those without a value last."""
    ordered = rows.sort_values(metric, ascending=direction == "min", kind="stable")
    return ordered.sort_values("status", key=lambda status: status != "succeeded", kind="stable", ignore_index=True)


def records(rows: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def record(row: pd.Series) -> Row:
    return {str(name): value for name, value in row.items()}
