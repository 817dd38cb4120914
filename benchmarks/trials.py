"""What a sweep's trial costs beside its own steps and measurements, and what stays behind in a process after many.

    python benchmarks/trials.py                    all three, some minutes on two cores
    python benchmarks/trials.py --only leaks --trials 200

`one` is a trial of one worker, in a process that is used for trial after trial; its baseline is the same runs, measured
the same way, in a loop in one process. `crew` is a trial of two workers, which stay for trial after trial; its baseline
is a Ray Train run in each, under Ray Tune as Ray's manual has it, with workers that do nothing. `leaks` is what a
trial's process holds after many. Exit status: 0 measured, 2 what was asked for cannot work.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path

from unlatent.platform import cluster, tables
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.config import compose_config
from unlatent.platform.datasets import open_dataset
from unlatent.platform.runs import plan_run
from unlatent.platform.store import Store
from unlatent.platform.training import Worker, train
from unlatent.platform.tuning.budget import Budget
from unlatent.platform.tuning.running import run_sweep
from unlatent.platform.tuning.trial import Task

SMALL = [
    "model.width=16",
    "model.heads=2",
    "model.patch_depth=1",
    "model.pixel_depth=1",
    "train.total_images=512",
    "train.checkpoint_images=512",
    "train.log_images=256",
    "train.grid_samples=2",
    "sampler.steps=2",
    "evaluation.samples=100",
]
LEAST_ROUNDS = {"one": 3, "crew": 6, "leaks": 1}  # the first trial is left out, the last has no next; crews have half
MEASURES = tuple(LEAST_ROUNDS)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES, help="default: all three")
    made.add_argument("--rounds", type=int, default=12, help="trials that are timed; default: %(default)s")
    made.add_argument("--trials", type=int, default=200, help="of `leaks`; default: %(default)s")
    made.add_argument("--bare", choices=("one", "crew"), help="only times a baseline, and prints its seconds as JSON")
    return made


def sweep(folder: Path, trials: int, *overrides: str) -> Store:
    """Runs a sweep of so many trials, one at a time, that differ in their learning rate. Returns its store."""
    rates = [float(f"{1e-3 + 1e-6 * number:.6g}") for number in range(trials)]
    (folder / "trials.yaml").write_text(json.dumps({"knobs": {"train.learning_rate": rates}, "max_concurrent": 1}))
    store = Store(folder / "store")
    run_sweep(str(folder / "trials.yaml"), [f"store={store.root}", *SMALL, *overrides])
    return store


def beside_steps_s(store: Store) -> list[float]:
    """Seconds from one trial's start to the next one's, without those of its steps and of its measurement."""
    runs = tables.read(store, "runs").sort_values("started_at").set_index("run_id")
    measured = tables.read(store, "evaluations").groupby("run_id")["duration_s"].first()
    periods = runs["started_at"].diff().shift(-1).dt.total_seconds()
    return list((periods - runs["duration_s"] - measured).dropna()[1:])  # the first has a process to start


def bare_one(rounds: int) -> list[float]:
    """The same for the same runs in a loop."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        for number in range(rounds):
            rate = float(f"{1e-3 + 1e-6 * number:.6g}")
            config = compose_config([f"store={store.root}", *SMALL, f"train.learning_rate={rate}"])
            run = plan_run(config, open_dataset(config.data, store))
            task = Task(run, store, Budget("images", config.train.total_images), ["fid"])

            def report(checkpoint: Checkpoint | None, task: Task = task) -> None:
                task.measure(checkpoint)

            train(run, store, Worker(report=report, reports_at_once=True))
        return beside_steps_s(store)


def bare_crew(rounds: int) -> list[float]:
    """Seconds of a Ray Train run of two workers that do nothing, in a trial of Ray Tune, without our settings."""
    import ray
    import ray.train
    from ray import tune
    from ray.train.torch import TorchTrainer

    def nothing() -> None:
        ray.train.report({"done": 1})

    with tempfile.TemporaryDirectory() as folder:

        def trial(settings: dict[str, Any]) -> None:
            started = time.time()
            scaling = ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.9})
            named = ray.train.RunConfig(name=f"nested-{settings['number']}", storage_path=folder)
            TorchTrainer(nothing, scaling_config=scaling, run_config=named).fit()
            tune.report({"started": started, "ended": time.time()})

        ray.init(num_cpus=2, log_to_driver=False, logging_level="ERROR")
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 0.01}),
            param_space={"number": tune.grid_search(list(range(rounds)))},
            tune_config=tune.TuneConfig(max_concurrent_trials=1),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        started = sorted(result.metrics["started"] for result in tuner.fit())
        ray.shutdown()
    return [later - earlier for earlier, later in pairwise(started)]


def baseline(which: str, rounds: int) -> list[float]:
    """The seconds of a baseline, in a process of its own."""
    command = [sys.executable, __file__, "--bare", which, "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def compare(what: str, ours: list[float], bare: list[float], name: str) -> str:
    lines = [f"\n{what:44} {'median':>9} {'lowest':>9} {'highest':>9} {'ours / it':>10}"]
    for title, values in (("unlatent sweep", ours), (name, bare)):
        shown = " ".join(f"{value:>7.2f} s" for value in (median(values), min(values), max(values)))
        lines.append(f"  {title:42} {shown} {median(ours) / median(values):>10.3f}")
    return "\n".join([*lines, f"  a trial costs {median(ours) - median(bare):+.2f} s beside it"])


class Watch:
    """Looks, again and again, at the process of the trial that is running."""

    def __init__(self, store: Store) -> None:
        self.store, self.seen, self.ended = store, dict[int, tuple[int, int, int]](), threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        while not self.ended.wait(0.5):
            rows = tables.read(self.store, "runs")
            if not rows.empty:
                last = rows.sort_values("started_at").iloc[-1]
                try:
                    process = psutil.Process(int(last["pid"]))
                    self.seen[len(rows)] = (process.memory_info().rss, process.num_threads(), process.num_fds())
                except psutil.Error:  # it has just ended
                    continue


def leaks(folder: Path, trials: int) -> str:
    watch = Watch(Store(folder / "store"))
    watch.thread.start()
    sweep(folder, trials)
    watch.ended.set()
    watch.thread.join()
    at = sorted(watch.seen)
    chosen = [at[int(share * (len(at) - 1))] for share in (0.1, 0.25, 0.5, 0.75, 1)]
    lines = [f"\none process after so many trials {'memory':>14} {'threads':>9} {'files':>7}"]
    for number in chosen:
        memory, threads, files = watch.seen[number]
        lines.append(f"  {number:29} {memory / 2**20:>10,.0f} MiB {threads:>9} {files:>7}")
    first, last = chosen[1], chosen[-1]
    growth = (watch.seen[last][0] - watch.seen[first][0]) / (last - first)
    return "\n".join([*lines, f"  {growth / 2**10:+,.0f} KiB a trial from {first} to {last}"])


def measure(asked: argparse.Namespace) -> None:
    least = max(LEAST_ROUNDS[each] for each in asked.only)
    if asked.rounds < least:
        raise ValueError(f"--rounds={asked.rounds} leaves no trial to time; {least} would do")
    if "one" in asked.only:
        bare = baseline("one", asked.rounds)
        with tempfile.TemporaryDirectory() as folder:
            ours = beside_steps_s(sweep(Path(folder), asked.rounds))
        print(compare("beside a trial's steps and measurement", ours, bare, "the same runs in a loop"), flush=True)
    if "leaks" in asked.only:
        with tempfile.TemporaryDirectory() as folder:
            print(leaks(Path(folder), asked.trials), flush=True)
    if "crew" in asked.only:
        cluster.disconnect()
        bare = baseline("crew", asked.rounds // 2)
        cluster.connect(ClusterConfig(cpus=2))
        with tempfile.TemporaryDirectory() as folder:
            ours = beside_steps_s(sweep(Path(folder), asked.rounds // 2, "cluster.workers=2"))
        print(
            compare("beside steps of two workers", ours, bare, "Ray Train in Ray Tune, as its manual has it"),
            flush=True,
        )


def main(arguments: list[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    try:
        if asked.bare:
            print(json.dumps((bare_one if asked.bare == "one" else bare_crew)(asked.rounds)))
            return 0
        measure(asked)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        cluster.disconnect()
    return 0


if __name__ == "__main__":
    sys.exit(main())
