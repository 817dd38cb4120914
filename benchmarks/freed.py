"""Whether the next trial of several workers finds room once a scheduler has stopped one, and after how long.

    python benchmarks/freed.py

Ray Tune ends a trial by killing its process. `plain` is a Ray Train run inside such a process, on a Ray without a
dashboard: its workers stay where they were placed. `unlatent` is a sweep that stops one of its trials: its workers are
a crew, which goes on with the next. Exit status: 0, it went on; 1, it did not.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path

CPUS = 2

SWEEP = """
knobs: {train.learning_rate: [1.0e-3, 1.0e-7, 2.0e-3]}
scheduler: asha
max_concurrent: 1
overrides:
  - model.width=16
  - model.heads=2
  - model.patch_depth=1
  - model.pixel_depth=1
  - train.total_images=512
  - train.checkpoint_images=256
  - train.log_images=256
  - sampler.steps=2
  - evaluation.samples=100
  - cluster.workers=2
"""


def hold(folder: str) -> None:
    """Runs two workers that hold a CPU each, and would for an hour."""
    import ray.train
    from ray.train.torch import TorchTrainer

    def wait() -> None:
        (Path(folder) / f"worker-{ray.train.get_context().get_world_rank()}").touch()
        time.sleep(3600)

    scaling = ray.train.ScalingConfig(num_workers=CPUS, resources_per_worker={"CPU": 1})
    TorchTrainer(wait, scaling_config=scaling, run_config=ray.train.RunConfig(name="held", storage_path=folder)).fit()


def freed_after_s(patience_s: float) -> float | None:
    """Seconds from the death of the process around the run until all CPUs are free; None if they are not in time."""
    import ray

    with tempfile.TemporaryDirectory() as folder:
        actor = ray.remote(num_cpus=0)(Holder).remote()
        actor.hold.remote(folder)
        while len(list(Path(folder).glob("worker-*"))) < CPUS:
            time.sleep(0.1)
        ray.kill(actor)
        killed = time.monotonic()
        while time.monotonic() - killed < patience_s:
            if ray.available_resources().get("CPU", 0) == CPUS:
                return time.monotonic() - killed
            time.sleep(0.1)
    return None


class Holder:
    """A trial's process, as an actor."""

    def hold(self, folder: str) -> None:
        hold(folder)


def plain_s(patience_s: float) -> float | None:
    import ray

    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        return freed_after_s(patience_s)
    finally:
        ray.shutdown()


def ours_s() -> float:
    """Seconds from where a sweep's scheduler stopped a trial until the next one's workers were at work."""
    from unlatent.platform import cluster, tables
    from unlatent.platform.store import Store
    from unlatent.platform.tuning.running import run_sweep

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "freed.yaml").write_text(SWEEP)
        try:
            run_sweep(f"{folder}/freed.yaml", [f"store={folder}/store", f"cluster.cpus={CPUS}"])
        finally:
            cluster.disconnect()
        rows = tables.read(Store(f"{folder}/store"), "runs").sort_values("started_at")
    stopped = list(rows["status"]).index("stopped_early")
    return float((rows["started_at"].iloc[stopped + 1] - rows["ended_at"].iloc[stopped]).total_seconds())


def main(arguments: list[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--patience", type=float, default=60, help="seconds; default: %(default)s")
    made.add_argument("--one", choices=("plain", "unlatent"), help="only one of them, in this process")
    asked = made.parse_args(arguments)
    if asked.one == "plain":
        after = plain_s(asked.patience)
        held = f"{CPUS} CPUs are held still, {asked.patience:g} s after"
        print(f"plain     {held if after is None else f'{CPUS} CPUs are free {after:.1f} s after'} the trial's death")
        return 0
    if asked.one == "unlatent":
        print(f"unlatent  the next trial's {CPUS} workers are at work {ours_s():.1f} s after a trial was stopped")
        return 0
    command = [sys.executable, __file__, "--patience", str(asked.patience), "--one"]
    subprocess.run([*command, "plain"], check=False)
    return subprocess.run([*command, "unlatent"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
