"""The Ray cluster that work runs on: a local one started for it, or one that is there already."""

import json
import os
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlatent.platform import ingress, joining, nodes
from unlatent.platform.shipping import write_wheel
from unlatent.platform.store import Store


@dataclass(kw_only=True)
class ClusterConfig:
    address: str | None = None  # None starts Ray on this machine; `auto` or host:port joins a running cluster
    cpus: int | None = None  # of a local Ray; all of the machine's unless given
    workers: int = 1  # data-parallel workers of a training run
    min_workers: int | None = None  # go on with so few of them where no more can be placed; None: all or none
    cpus_per_worker: float | None = None  # all the cluster's CPUs, shared between the workers, unless given
    gpus_per_worker: float = 0
    cpus_per_trial: float = 1
    gpus_per_trial: float = 0
    grows: bool = False  # an autoscaler adds nodes for what has no room: it is asked for, and waited for without limit
    max_failures: int = 2  # restarts of a training run whose worker dies
    verbose: bool = False  # Ray's own messages too

    @property
    def worker_counts(self) -> range:
        """How many workers a training run may come to have."""
        return range(self.workers if self.min_workers is None else self.min_workers, self.workers + 1)

    def __post_init__(self) -> None:
        if self.workers == 1 and self.gpus_per_trial > 1:
            raise ValueError(
                f"cluster.gpus_per_trial={self.gpus_per_trial:g}: a trial of one worker computes on one GPU; "
                f"cluster.workers={self.gpus_per_trial:g} cluster.gpus_per_worker=1 gives it that many"
            )
        if self.address and "://" in self.address:
            raise ValueError(
                f"cluster.address={self.address} is no host:port; training and sweeps are driven from a node of the "
                "cluster and not over ray://, or sent there with `ray job submit`"
            )
        if self.grows and not self.address:
            raise ValueError("cluster.grows=true: a Ray of this machine gets no nodes; cluster.address names a cluster")
        if self.min_workers is not None and not 1 <= self.min_workers <= self.workers:
            raise ValueError(f"cluster.min_workers={self.min_workers} is not in 1 … cluster.workers={self.workers}")
        for name, least in (("workers", 1), ("max_failures", 0), ("gpus_per_worker", 0), ("gpus_per_trial", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"cluster.{name}={getattr(self, name)} is below {least}")
        for name in ("cpus", "cpus_per_worker", "cpus_per_trial"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"cluster.{name}={getattr(self, name)} is not above 0")


def connect(config: ClusterConfig, store: str | None = None) -> None:
    """Starts or joins Ray, unless this process already has.

    Every node of a running cluster must see the `store`.

    Raises ValueError, in one line, for a cluster that can't be joined or whose nodes can't do the work.
    """
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # `uv run` would upload the whole checkout
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # a report waits for this poll: 2 s by default
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process and an error line a run
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the coming default; unset, it warns
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # on Ctrl-C it would end as if all were well
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")  # a trial that diverged has no metric
    os.environ.setdefault("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", "minor")  # as pickles and wheels are matched
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "600")  # for a trial to stop; 2 s fail the next
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the other output cannot be silenced
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # our tables are the record
    import ray

    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {} if config.verbose else {"log_to_driver": False, "logging_level": "ERROR"}
    if config.address:
        join(config, store, quiet)
    else:
        ingress.serve_by_haproxy()
        # without the address, a Ray that happens to run on this machine would be joined
        own: dict[str, Any] = {"address": "local", "include_dashboard": False, "object_store_memory": 256 << 20}
        ray.init(num_cpus=config.cpus, **own, **quiet)
    stop_on_sigterm()  # Ray has put a handler of its own there, which aborts


def join(config: ClusterConfig, store: str | None, quiet: dict[str, Any]) -> None:
    """Joins a running cluster, whose nodes get the package as it runs here."""
    import ray

    assert config.address
    address = joining.find_cluster(config.address)
    with tempfile.TemporaryDirectory() as folder:  # Ray has taken the wheel when `init` returns
        ray.init(address=address, runtime_env=package(Path(folder)), **quiet)
    try:
        nodes.require_fit()
        if store:
            nodes.require_shared(Store(store))
    except BaseException:
        ray.shutdown()
        raise


def package(folder: Path) -> dict[str, Any]:
    """The runtime environment that brings the package. A submitted job has brought it, and may not bring another."""
    from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

    job = json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}"))
    if "py_modules" in job.get("runtime_env", {}):
        return {}
    return {"py_modules": [str(write_wheel(folder))]}


def stop_on_sigterm() -> None:
    """Makes SIGTERM stop this process as Ctrl-C does. A signal can be given a handler only in the main thread."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


def interrupt(number: int, frame: object) -> None:
    """As Ctrl-C does, whoever handles that now; also where a script's shell has it ignored for what runs behind it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def disconnect() -> None:
    """Leaves Ray, and ends it where `connect` started it."""
    if "ray" not in sys.modules:
        return
    import ray

    if ray.is_initialized():
        ray.shutdown()
