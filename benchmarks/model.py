"""Training step, sampling and memory of our network against a plain formulation of it, and the published code.

    python benchmarks/model.py                                    a small network on a CPU
    python benchmarks/model.py --preset xl --device cuda --precision bf16 --compile --batch 32

Needs PyTorch alone. benchmarks/README.md says how to read what it prints. Exit status: 0 measured, 1 measured but the
networks disagree, 2 what was asked for cannot work.
"""

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path, nothing need be installed

from benchmarks.contenders import OURS, Contender, make_contenders
from benchmarks.measure import (
    begin_training,
    compare_outputs,
    make_batch,
    measure_memory,
    measure_sampling,
    measure_training,
    measure_work,
)
from benchmarks.report import Report, agreement_text, footprint_text, setup_text, timing_text, work_text
from benchmarks.timing import matrix_rate
from unlatent.models import PixelTransformerConfig, SamplerConfig
from unlatent.models.cost import forward_gflops, parameters
from unlatent.models.precision import PRECISIONS
from unlatent.models.presets import PRESETS as PUBLISHED
from unlatent.models.recomputation import RECOMPUTATIONS

SMALL = {"width": 384, "heads": 6, "patch_depth": 12, "pixel_depth": 2, "image_size": 64, "patch_size": 8}
PRESETS: dict[str, dict[str, int]] = {"small": SMALL, **{name: PUBLISHED[name] for name in ("b", "l", "xl")}}
SHAPE = ("width", "heads", "patch_depth", "pixel_depth", "pixel_width", "image_size", "patch_size")
COMPILED = ("none", "ours", "all")  # on a CPU, PyTorch 2.13 compiles the baselines' complex numbers wrongly
MEASURES = ("sample", "train", "memory")  # and, where it is asked for, kernels
COMPARED = 2  # images, in the comparison of outputs


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--preset", choices=PRESETS, default="small", help="default: %(default)s")
    for name in SHAPE:
        made.add_argument(f"--{name.replace('_', '-')}", type=int, help="instead of the preset's")
    made.add_argument("--modulation", choices=("pre", "post"), default="pre", help="default: %(default)s")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    made.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s")
    made.add_argument("--compile", choices=COMPILED, nargs="?", const="all", default="none", help="alone: all of them")
    made.add_argument("--recompute", choices=RECOMPUTATIONS, help="ours; default: as training does on the device")
    made.add_argument("--batch", type=int, default=8, help="images a training step; default: %(default)s")
    made.add_argument("--sample-images", type=int, default=8, help="default: %(default)s")
    made.add_argument("--sample-steps", type=int, default=25, help="default: %(default)s")
    made.add_argument("--guidance", type=float, default=3.25, help="between 0.1 and 0.9; default: %(default)s")
    made.add_argument("--rounds", type=int, default=3, help="in which all take turns; default: %(default)s")
    made.add_argument("--steps", type=int, default=2, help="training steps a turn; default: %(default)s")
    choices = (*MEASURES, "kernels")
    made.add_argument("--only", nargs="+", choices=choices, default=MEASURES, help="default: all but kernels")
    made.add_argument("--shown", type=int, default=20, help="kernels that are named; default: %(default)s")
    made.add_argument("--published", type=Path, metavar="DIR", help="a checkout of the published code")
    made.add_argument("--json", type=Path, metavar="FILE", help="writes everything there too")
    return made


def make_config(asked: argparse.Namespace) -> PixelTransformerConfig:
    given = {name: getattr(asked, name) for name in SHAPE if getattr(asked, name) is not None}
    return PixelTransformerConfig(**{**PRESETS[asked.preset], **given}, modulation=asked.modulation)


def measure(asked: argparse.Namespace) -> Report:
    """Everything that was asked for, printed as it is found."""
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda is not to be had here; cpu would do")
    torch.manual_seed(0)
    config, device, dtype = make_config(asked), torch.device(asked.device), PRECISIONS[asked.precision]
    recompute = asked.recompute or ("modulation" if device.type == "cuda" else "none")
    contenders = make_contenders(config, device, dtype, recompute, asked.published)
    report = Report(setup(asked, config, recompute), matrix_rate(device, dtype))
    print(setup_text(report.setup, report.matrix_rate), flush=True)

    for each in dict.fromkeys((torch.float32, dtype)):
        report.agreements += compare_outputs(contenders, make_batch(config, COMPARED, device), each)
    for contender in contenders:
        if asked.compile == "all" or (asked.compile == "ours" and contender.name == OURS):
            contender.compile()
    if "sample" in asked.only:
        measure_drawing(asked, contenders, config, report)
    if {"train", "memory", "kernels"} & set(asked.only):
        measure_learning(asked, contenders, config, report)
    print(agreement_text(report.agreements))
    return report


def measure_drawing(
    asked: argparse.Namespace, contenders: list[Contender], config: PixelTransformerConfig, report: Report
) -> None:
    settings = SamplerConfig(steps=asked.sample_steps, guidance=asked.guidance, guidance_high=0.9)
    batch = make_batch(config, asked.sample_images, torch.device(asked.device))
    timings, agreements = measure_sampling(contenders, config, batch, settings, asked.rounds)
    report.timings["sampling"] = timings
    report.agreements += agreements
    print(timing_text("sampling", timings, report.matrix_rate), flush=True)


def measure_learning(
    asked: argparse.Namespace, contenders: list[Contender], config: PixelTransformerConfig, report: Report
) -> None:
    batch = make_batch(config, asked.batch, torch.device(asked.device))
    report.agreements += begin_training(contenders, batch)
    if "train" in asked.only:
        for what, timings in measure_training(contenders, config, batch, asked.steps, asked.rounds).items():
            report.timings[what] = timings
            print(timing_text(what, timings, report.matrix_rate), flush=True)
    if "memory" in asked.only:
        report.footprints = measure_memory(contenders, batch)
        print(footprint_text(report.footprints), flush=True)
    if "kernels" in asked.only:
        report.work = measure_work(contenders, batch, asked.steps, asked.shown)
        for work in report.work:
            print(work_text(work), flush=True)


def setup(asked: argparse.Namespace, config: PixelTransformerConfig, recompute: str) -> dict[str, Any]:
    shape = f"{config.image_size}², patch {config.patch_size}, width {config.width}, heads {config.heads}"
    depths = f"depths {config.patch_depth} and {config.pixel_depth}"
    size = f"{parameters(config) / 1e6:.1f}M parameters, {forward_gflops(config):.2f} GFLOPs an image"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(torch.device(asked.device)),
        "versions": f"torch {torch.__version__}, python {platform.python_version()}",
        "network": f"{shape}, {depths}: {size}",
        "training": f"batch {asked.batch}, {asked.precision}, recompute {recompute} (ours alone)",
        "sampling": f"{asked.sample_images} images, {asked.sample_steps} steps, guidance {asked.guidance} on 0.1 … 0.9",
        "method": f"compiled: {asked.compile}, {asked.rounds} rounds, {asked.steps} steps a turn",
    }


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    said = Path("/proc/cpuinfo")
    names = [line for line in said.read_text().splitlines() if line.startswith("model name")] if said.exists() else []
    name = names[0].split(":")[1].strip() if names else platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def main(words: list[str] | None = None) -> int:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler that counts memory has nothing else to say
    made = parser()
    asked = made.parse_args(words)
    for name in ("batch", "sample_images", "sample_steps", "rounds", "steps", "shown"):
        if getattr(asked, name) < 1:
            made.error(f"--{name.replace('_', '-')} {getattr(asked, name)} is below 1")
    try:
        report = measure(asked)
    except ValueError as error:
        made.error(str(error))
    if asked.json is not None:
        asked.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0 if report.same else 1


if __name__ == "__main__":
    sys.exit(main())
