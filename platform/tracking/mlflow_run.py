"""A run on MLflow: where MLFLOW_TRACKING_URI says, else in a database file in the store."""

import io
import os
from typing import Any

from PIL import Image

from unlatent.platform.runs import Run
from unlatent.platform.store import Store
from unlatent.platform.tracking.interval import Interval, Point

TAG = "unlatent.run_id"
METRICS_A_CALL, PARAMETERS_A_CALL = 1000, 100  # MLflow's own limits
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}  # training waits as long


class MlflowRun:
    """Carries the run's id as a tag, by which a command that goes on with a run finds it."""

    def __init__(self, store: Store, run: Run) -> None:
        from mlflow import MlflowClient

        for name, value in IMPATIENT.items():
            os.environ.setdefault(name, value)
        with store.lock("artifacts/.mlflow.lock"):  # runs that start together would all make the tables
            self.client = MlflowClient(tracking_uri=tracking_uri(store))
            experiment = experiment_id(self.client, store)
        found = self.client.search_runs([experiment], f"tags.`{TAG}` = '{run.run_id}'", max_results=1)
        self.id = found[0].info.run_id if found else create(self.client, experiment, run)

    def resume(self, given: int, images_seen: int) -> int:
        """What it has been given it keeps: it takes nothing back."""
        self.client.update_run(self.id, status="RUNNING")
        history = self.client.get_metric_history(self.id, "train/images_per_s")
        return max([given, *(metric.step for metric in history)])

    def add(self, interval: Interval) -> None:
        metrics = [metric for point in interval.points() for metric in metrics_of(point)]
        for start in range(0, len(metrics), METRICS_A_CALL):
            self.client.log_batch(self.id, metrics=metrics[start : start + METRICS_A_CALL])
        if interval.grid:
            self.client.log_image(self.id, Image.open(io.BytesIO(interval.grid)), key="samples", step=interval.end)

    def close(self, ended_well: bool) -> None:
        self.client.set_terminated(self.id, "FINISHED" if ended_well else "FAILED")


def tracking_uri(store: Store) -> str:
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if not given and not store.is_local:
        raise ValueError(f"store={store.root} holds no database; MLFLOW_TRACKING_URI names one, or a server")
    return given or f"sqlite:///{store.local('artifacts/mlflow.db')}"


def experiment_id(client: Any, store: Store) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "unlatent")
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    ours = "MLFLOW_TRACKING_URI" not in os.environ
    return str(client.create_experiment(name, store.local("artifacts/mlflow").as_uri() if ours else None))


def create(client: Any, experiment: str, run: Run) -> str:
    from mlflow.entities import Param

    created = client.create_run(experiment, run_name=run.run_id, tags={TAG: run.run_id, "sweep": run.sweep or ""})
    parameters = [Param(name, str(value)) for name, value in run.identity.items()]
    for start in range(0, len(parameters), PARAMETERS_A_CALL):
        client.log_batch(created.info.run_id, params=parameters[start : start + PARAMETERS_A_CALL])
    return str(created.info.run_id)


def metrics_of(point: Point) -> list[Any]:
    from mlflow.entities import Metric

    at_ms = int(point.logged_at.timestamp() * 1000)
    return [Metric(name, value, at_ms, point.images_seen) for name, value in point.values.items()]
