"""Where the numbers came from: data, code, machine, and the rows themselves."""

from collections import Counter
from collections.abc import Sequence
from pprint import pformat
from textwrap import indent
from typing import Any

from unlatent.platform import tables
from unlatent.platform.report.findings import SweepFindings, shown_metrics
from unlatent.platform.report.points import Row
from unlatent.platform.report.wording import is_missing, metric_title, moment, plain, plural
from unlatent.platform.schemas import RUNS
from unlatent.platform.selection import COMPARABLE_IN
from unlatent.platform.store import Store

Facts = dict[str, str]


def facts(runs: Sequence[Row]) -> Facts:
    """What the runs have in common; where they differ, each value with how many runs have it."""
    if not runs:
        return {}
    started = [row["started_at"] for row in runs if not is_missing(row["started_at"])]
    ended = [row["ended_at"] for row in runs if not is_missing(row["ended_at"])]
    return {
        "Dataset": in_words([f"{row['dataset']}, hash {row['dataset_hash']}" for row in runs]),
        "Git commit": in_words([commit(row) for row in runs]),
        "Code version": in_words([plain(row["code_version"]) for row in runs]),
        "Versions": in_words([versions(row) for row in runs]),
        "Host": in_words([plain(row["host"]) for row in runs]),
        "Device": in_words([f"{plain(row['device'])}, {plural(int(row['workers']), 'worker')}" for row in runs]),
        "Trained": f"{moment(min(started, default=None))} to {moment(max(ended, default=None))}",
    }


def in_words(values: Sequence[str]) -> str:
    counted = Counter(values).most_common()
    return counted[0][0] if len(counted) == 1 else "; ".join(f"{value} ({plural(n, 'run')})" for value, n in counted)


def commit(row: Row) -> str:
    if is_missing(row["git_commit"]):
        return "none recorded"
    return f"{row['git_commit']}{', with changes of its own' if row['git_dirty'] else ''}"


def versions(row: Row) -> str:
    names = {
        "unlatent": "unlatent_version",
        "Python": "python_version",
        "PyTorch": "torch_version",
        "Ray": "ray_version",
    }
    return ", ".join(f"{name} {plain(row[column])}" for name, column in names.items())


def measured_facts(settings: Row) -> Facts:
    """Everything that the values of a metric depend on, beside the checkpoint."""
    if not settings:
        return {}
    guidance = f"{settings['guidance']:g}"
    if settings["guidance"] != 1:
        guidance += f" for {settings['guidance_low']:g} < t < {settings['guidance_high']:g}"
    network = plain(settings["network_evaluations"])
    accuracy = settings["extractor_accuracy"]
    extractor = shortened(settings["feature_extractor"]) + (
        "" if is_missing(accuracy) else f", held-out accuracy {accuracy:.4f}"
    )
    return {
        "Images drawn": f"{settings['samples']:,}, from seed {settings['seed']}, {settings['weights']} weights",
        "Sampler": f"{settings['sampler']}, {settings['steps']} steps, {network} network rows an image",
        "Precision": plain(settings["precision"]),
        "Guidance": guidance,
        "Time shift": plain(settings["shift"]),
        "Features": extractor,
        "Reference": f"{settings['reference']}, of {settings['dataset']}",
    }


def measured_line(sweep: SweepFindings) -> str:
    """The same in a line, to stand near every picture."""
    facts = measured_facts(sweep.settings)
    if not facts:
        return ""
    settings, seeds = sweep.settings, sweep.seeds
    parts = [
        f"{metric_title(sweep.metric)} of {settings['samples']:,} images from seed {settings['seed']}",
        f"{settings['weights']} weights",
        facts["Sampler"],
        f"guidance {facts['Guidance']}",
        facts["Precision"],
        f"features {facts['Features']}",
        f"reference {facts['Reference']}",
        *([f"means over {seeds} training seeds ± one sample deviation"] if seeds > 1 else []),
    ]
    return "; ".join(parts) + "."


def pandas_lines(store: Store, sweep: SweepFindings) -> str:
    """Python that makes the table of trials out of the Parquet files."""
    runs, evaluations = (store.uri(tables.folder(table)) for table in ("runs", "evaluations"))
    settings = {name: as_python(sweep.settings[name]) for name in COMPARABLE_IN if sweep.settings}
    alike = [(name, value) for name, value in settings.items() if not is_missing(value)]  # no null equals another
    knobs = ["patch_size", "window", "attention", *(name for name in sweep.varying if name in RUNS)]
    seeds = ["point", "seed"] if sweep.seeds > 1 else []
    scores = shown_metrics(sweep) if sweep.settings else []
    columns = ["run_id", *seeds, *knobs, *scores, "forward_gflops", "status"]
    scored = [
        f"scores = pd.read_parquet({evaluations!r})",
        f"alike = dict(\n{literal(alike)}\n)",
        "scores = scores[(scores[list(alike)] == pd.Series(alike)).all(axis=1)]",
        'scores = scores.pivot_table(index=["run_id", "checkpoint_hash"], columns="metric", values="value")',
        'trials = trials.merge(scores, on=["run_id", "checkpoint_hash"], how="left")',
        f"trials = trials.sort_values({sweep.metric!r}, ascending={sweep.direction == 'min'})",
    ]
    lines = [
        "import pandas as pd",
        "",
        f"trials = pd.read_parquet({runs!r})",
        f"trials = trials[trials.sweep == {sweep.name!r}]",
        *(scored if sweep.settings else []),
        f"columns = {columns}",
        *(over_seeds(sweep) if seeds and scores else ["trials[columns]"]),
    ]
    return "\n".join(lines)


def over_seeds(sweep: SweepFindings) -> list[str]:
    """Further lines: the means of each point beside its trials."""
    means = f"trials[trials.status == 'succeeded'].groupby('point')[{sweep.metric!r}].agg(['mean', 'std', 'count'])"
    best_first = f"sort_values(['mean', {sweep.metric!r}], ascending={sweep.direction == 'min'})"
    return [f"means = {means}", f"trials[columns].merge(means, on='point', how='left').{best_first}"]


def as_python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def literal(value: Any) -> str:
    """A value as Python source, in lines of a readable length."""
    return indent(pformat(value, width=88, compact=True), "    ")


def shortened(name: str) -> str:
    """`classifier:<hash>` with the first 16 digits of the hash."""
    kind, separator, digits = name.partition(":")
    return f"{kind}{separator}{digits[:16]}" + ("…" if len(digits) > 16 else "")
