"""What the platform costs beside the training itself: a step, the start, reading images, a checkpoint.

    python benchmarks/train_overhead.py                            all four, some minutes on two cores
    python benchmarks/train_overhead.py --only step -- model=b data=imagefolder data.root=pictures

Overrides after `--` are those of `unlatent train`. benchmarks/README.md says how to read what it prints. Exit status: 0
measured, 2 what was asked for cannot work.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path

from benchmarks.overhead import (
    Compared,
    bare_step_s,
    compare_checkpoint,
    compare_loading,
    compare_steps,
    stages_to_first_step,
)
from unlatent.platform import cluster
from unlatent.platform.config import compose_config

MEASURES = ("start", "step", "loading", "checkpoint")
LARGER = ["model.width=384", "model.heads=6", "model.patch_depth=12"]  # whose checkpoints take a while


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES, help="default: all four")
    made.add_argument("--steps", type=int, default=600, help="of a training run; default: %(default)s")
    made.add_argument("--rounds", type=int, default=3, help="in which both take turns; default: %(default)s")
    made.add_argument(
        "--images", type=int, default=1024, help="in the shards that are read, four times over; default: %(default)s"
    )
    made.add_argument("--image-size", type=int, default=256, help="that they are cropped to; default: %(default)s")
    made.add_argument("--bare", type=int, metavar="STEPS", help="only times so many steps in a bare loop")
    made.add_argument("overrides", nargs="*", help="of the config, such as model=b")
    return made


def text(compared: Compared, ours: str, baseline: str) -> str:
    lines = [f"\n{compared.what:34} {'median':>14} {'lowest':>14} {'highest':>14} {'ours / it':>10}"]
    for name, values in ((ours, compared.ours), (baseline, compared.baseline)):
        shown = " ".join(f"{value:>14.4g}" for value in (median(values), min(values), max(values)))
        lines.append(f"  {name:32} {shown} {median(compared.ours) / median(values):>10.3f}   {compared.unit}")
    return "\n".join(lines)


def measure(asked: argparse.Namespace, folder: Path) -> None:
    if "start" in asked.only:
        stages = stages_to_first_step(folder, asked.overrides)
        print(f"\nfrom command to first step {sum(stages.values()):>21.2f} s")
        print("\n".join(f"  {name:44} {seconds:.2f} s" for name, seconds in stages.items()), flush=True)
    if "step" in asked.only:
        print(text(compare_steps(folder, asked.steps, asked.rounds, asked.overrides), "Ray Train", "bare loop"))
    if "loading" in asked.only:
        loading = compare_loading(folder, asked.images, asked.rounds, asked.image_size)
        print(text(loading, "tasks of Ray, one ahead", "decoding on one core"), flush=True)
    if "checkpoint" in asked.only:
        taken, size = compare_checkpoint(folder, asked.rounds, [*LARGER, *asked.overrides])
        for each in taken:
            print(text(each, "written aside", "written in the loop"))
        print(f"  {size / 2**20:,.0f} MiB", flush=True)


def main(arguments: list[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    try:
        if asked.bare:
            print(json.dumps(bare_step_s(compose_config(asked.overrides), asked.bare)))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            measure(asked, Path(folder))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        cluster.disconnect()
    return 0


if __name__ == "__main__":
    sys.exit(main())
