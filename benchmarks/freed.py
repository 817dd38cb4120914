"""Whether what a Ray Train run holds is free again once the trial around it has been killed, and after how long.

    python benchmarks/freed.py

Ray Tune ends a trial by killing its process. A Ray Train run inside it has placed workers of its own; `plain` is such a
run on a Ray without a dashboard, as a sweep on one machine would start it, and `unlatent` one on a Ray as our sweeps of
several workers start it. Exit status: 0, ours are free; 1, they are not.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path

CPUS = 2


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


def measure(ours: bool, patience_s: float) -> float | None:
    import ray

    from unlatent.platform import cluster

    if ours:
        cluster.connect(cluster.ClusterConfig(cpus=CPUS), nested=True)
    else:
        ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        return freed_after_s(patience_s)
    finally:
        cluster.disconnect()


def main(arguments: list[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--patience", type=float, default=60, help="seconds; default: %(default)s")
    made.add_argument("--one", choices=("plain", "unlatent"), help="only one of them, in this process")
    asked = made.parse_args(arguments)
    if asked.one:
        after = measure(asked.one == "unlatent", asked.patience)
        held = f"{CPUS} CPUs are held still, {asked.patience:g} s after"
        print(
            f"{asked.one:10} {held if after is None else f'{CPUS} CPUs are free {after:.1f} s after'} the trial's death"
        )
        return int(after is None)
    command = [sys.executable, __file__, "--patience", str(asked.patience), "--one"]
    subprocess.run([*command, "plain"], check=False)
    return subprocess.run([*command, "unlatent"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
