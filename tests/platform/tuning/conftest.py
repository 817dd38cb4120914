"""Sweeps from a definition's text, and rows of trials that ended in some way."""

import socket

import pytest

from unlatent.platform import tables
from unlatent.platform.config import to_yaml
from unlatent.platform.evaluation import extractor_name
from unlatent.platform.provenance import now, process
from unlatent.platform.selection import measured_as
from unlatent.platform.tuning.plan import Sweep, Trial, plan_sweep


@pytest.fixture
def plan(store, tmp_path):
    """Plans a sweep from a definition's text."""

    def make(text: str, *overrides: str) -> Sweep:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return plan_sweep(str(path), [f"store={store.root}", *overrides])

    return make


@pytest.fixture
def record(store, row_of):
    """Writes what a trial came to: its run's row, and its objective where it had seen so many images."""

    def write(sweep: Sweep, trial: Trial, status: str, values: dict[int, float], extractor=None, **of_run) -> None:
        config = trial.run.config
        features = extractor or extractor_name(sweep.config.evaluation, sweep.dataset)
        row = {
            "run_id": trial.run_id, "sweep": sweep.definition.name, "status": status, "point": trial.run.point,
            "forward_gflops": 0.1, "images_seen": max(values, default=0), "started_at": now(),
            "host": socket.gethostname(), **process(),
        }  # fmt: skip
        tables.replace(store, "runs", row_of("runs", **row | {"config": to_yaml(config)} | of_run))
        for images, value in values.items():
            measured = {
                "run_id": trial.run_id, "metric": sweep.definition.metric, "value": value, "images_seen": images,
                "feature_extractor": features, "dataset_hash": sweep.dataset.hash, "evaluated_at": now(),
            }  # fmt: skip
            tables.append(store, "evaluations", [row_of("evaluations", **measured_as(sweep.config), **measured)])

    return write
