"""The text-to-image network on one device: does it fit, how long does it take, at 512², 1024² and other proportions.

    python benchmarks/text_to_image.py --small                 a small network on a CPU
    python benchmarks/text_to_image.py --device cuda           PixelDiT-T2I, 1.3B parameters, in bf16

Needs PyTorch alone. benchmarks/README.md says how to read what it prints. Exit status: 0 measured, 1 measured but bf16
or the compiler changes what the network says, 2 what was asked for cannot work.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path, nothing need be installed

from benchmarks.contenders import visible
from benchmarks.measure import LIMITS, relative
from benchmarks.memory import step_memory
from benchmarks.model import machine
from benchmarks.report import Agreement, agreement_text, mebibytes, setup_text
from benchmarks.timing import Spread, interleaved, matrix_rate, spread, time_once
from unlatent.models import PixelTransformer, PixelTransformerConfig, SamplerConfig, Text, sample
from unlatent.models.cost import forward_gflops, parameters
from unlatent.models.memory import drawing_bytes
from unlatent.models.precision import PRECISIONS, autocast
from unlatent.models.presets import preset

Sides = tuple[int, int]  # width and height

PRECISION = "bf16"  # of the products, in every contender
HELD_FP32, HELD_BF16, COMPILED = "held in fp32", "held in bf16", "compiled"
BASELINE = HELD_BF16
SMALL: dict[str, Any] = {
    "image_size": 128,
    "width": 192,
    "heads": 3,
    "patch_depth": 3,
    "compaction": {"width": 144, "heads": 2},
    "text": {"width": 64, "tokens": 40},
}
SIZES = {False: ["1024x1024", "512x512", "1280x768", "768x1280"], True: ["128x128", "64x64", "160x96", "96x160"]}
CHECKED = {False: (256, 256), True: (64, 64)}  # the size at which outputs are compared with float32
DRAWS = 3  # of fresh inputs, in the comparison


@dataclass(kw_only=True)
class Row:
    """A network call, measured."""

    contender: str
    size: str
    rows: int
    seconds: Spread
    flops: float
    weights_bytes: int
    scratch_bytes: int  # at the worst moment of the call, beside the weights
    estimated_bytes: int  # of that, by models/memory.py, without the compiler
    first_s: float  # of the first call, with compiling


@dataclass(kw_only=True)
class Drawing:
    """An image from noise to the end, measured."""

    contender: str
    size: str
    seconds: float
    steps: int


@dataclass
class Report:
    setup: dict[str, Any]
    matrix_rate: float  # FLOP/s of the machine
    calls: list[Row] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return all(agreement.holds for agreement in self.agreements)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--small", action="store_true", help="a network of 16 million parameters, and small images")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    made.add_argument("--sizes", nargs="+", type=sides, metavar="WxH", help="default: 1024x1024 512x512 and two more")
    made.add_argument("--rows", nargs="+", type=int, default=[1, 2], help="of a call; two: one guided image")
    made.add_argument("--compile", nargs="*", type=sides, default=[], metavar="WxH", help="sizes to be compiled too")
    made.add_argument("--steps", type=int, default=25, help="of an image; 0: draws none. Default: %(default)s")
    made.add_argument("--guidance", type=float, default=4.5, help="default: %(default)s")
    made.add_argument("--rounds", type=int, default=5, help="in which all take turns; default: %(default)s")
    made.add_argument("--json", type=Path, metavar="FILE", help="writes everything there too")
    return made


def sides(text: str) -> Sides:
    """`1280x768`: width, then height."""
    if not (found := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; 1280x768 would do")
    return int(found[1]), int(found[2])


def measure(asked: argparse.Namespace) -> Report:
    """Everything that was asked for, printed as it is found."""
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda is not to be had here; cpu would do")
    torch.manual_seed(0)
    config, device = preset("text", **(SMALL if asked.small else {})), torch.device(asked.device)
    sizes = sizes_in_order(asked, config)
    with device:
        network = visible(PixelTransformer(config)).requires_grad_(False).eval()
    report = Report(setup(config, device), matrix_rate(device, PRECISIONS[PRECISION]))
    print(setup_text(report.setup, report.matrix_rate), flush=True)

    networks = {HELD_FP32: network, HELD_BF16: held_in_bf16(network)}
    report.agreements.append(compare(networks, config, CHECKED[asked.small], device))
    print(f"\n{heading()}", flush=True)
    for size in sizes:
        compiling = {COMPILED: compiled(networks[HELD_BF16])} if size in asked.compile else {}
        contenders = networks | compiling
        for count in asked.rows:
            found, agreements = measure_call(contenders, config, size, count, asked.rounds, device)
            report.calls += found
            report.agreements += agreements
            print("\n".join(row_text(row, found, report.matrix_rate) for row in found), flush=True)
        if asked.steps:
            report.drawings += [draw(name, each, config, size, asked, device) for name, each in contenders.items()]
    print("\n".join(drawing_text(report.drawings, asked.guidance)))
    print(agreement_text(report.agreements))
    return report


def sizes_in_order(asked: argparse.Namespace, config: PixelTransformerConfig) -> list[Sides]:
    """Small ones first, those that are to be compiled last. Raises ValueError for one that is no whole patches."""
    sizes = {*(asked.sizes or map(sides, SIZES[asked.small])), *asked.compile}
    for size in sizes:
        if size[0] % config.patch_size or size[1] % config.patch_size:
            raise ValueError(f"size={said(size)} is not a whole number of patches of patch_size={config.patch_size}")
    return sorted(sizes, key=lambda size: (size in asked.compile, size[0] * size[1], size))


def setup(config: PixelTransformerConfig, device: torch.device) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(device),
        "versions": f"torch {torch.__version__}, python {platform.python_version()}",
        "network": f"{parameters(config) / 1e6:,.1f}M parameters, {config.text.tokens} text tokens, none masked",
    }


def held_in_bf16(network: PixelTransformer) -> PixelTransformer:
    """Its weights, but not its tables: times up to 1,000 have no place in bfloat16."""
    made = deepcopy(network)
    for weight in made.parameters():
        weight.data = weight.data.bfloat16()
    return made


def compiled(network: PixelTransformer) -> PixelTransformer:
    """The same weights, with a graph for each kind of block: a whole network's graph takes minutes to compile."""
    made = deepcopy(network)
    for theirs, own in zip(network.parameters(), made.parameters(), strict=True):
        own.data = theirs.data
    made.compile_blocks()
    return made


def inputs(config: PixelTransformerConfig, size: Sides, rows: int, device: torch.device) -> tuple[Tensor, Tensor, Text]:
    width, height = size
    image = torch.randn(rows, config.channels, height, width, device=device)
    tokens = torch.randn(rows, config.text.tokens, config.text.width, device=device)
    return image, torch.rand(rows, device=device), Text(tokens)


@torch.inference_mode()
def compare(
    networks: dict[str, PixelTransformer], config: PixelTransformerConfig, size: Sides, device: torch.device
) -> Agreement:
    """How far bf16 is from float32, at worst of some fresh inputs."""
    differences = []
    for _ in range(DRAWS):
        given = inputs(config, size, 1, device)
        exact = networks[HELD_FP32](*given)
        with autocast(device, PRECISION):
            differences.append(relative(networks[HELD_BF16](*given).float(), exact))
    return Agreement(
        what=f"{HELD_BF16} at {said(size)}, relative",
        baseline="float32",
        difference=max(differences),
        limit=LIMITS[PRECISIONS[PRECISION]],
    )


@torch.inference_mode()
def measure_call(
    contenders: dict[str, PixelTransformer],
    config: PixelTransformerConfig,
    size: Sides,
    rows: int,
    rounds: int,
    device: torch.device,
) -> tuple[list[Row], list[Agreement]]:
    """Times and memory of a call of each, and how far what the compiled one says is from the baseline."""
    given = inputs(config, size, rows, device)
    outputs: dict[str, Tensor] = {}

    def call(name: str) -> None:
        with autocast(device, PRECISION):
            outputs[name] = contenders[name](*given)

    first = {name: time_once(partial(call, name), device) for name in contenders}
    memory = {name: step_memory(partial(call, name), each.parameters(), device) for name, each in contenders.items()}
    times = interleaved({name: partial(time_once, partial(call, name), device) for name in contenders}, rounds)
    pixels = size[0] * size[1]
    found = [
        Row(
            contender=name,
            size=said(size),
            rows=rows,
            seconds=spread(times[name].found),
            flops=rows * forward_gflops(config, pixels) * 1e9,
            weights_bytes=memory[name].state,
            scratch_bytes=memory[name].step,
            estimated_bytes=drawing_bytes(config, rows, pixels, PRECISION),
            first_s=first[name],
        )
        for name in contenders
    ]
    if COMPILED not in contenders:
        return found, []
    agreement = Agreement(
        what=f"{COMPILED} at {said(size)}, {rows} rows, relative",
        baseline=BASELINE,
        difference=relative(outputs[COMPILED].float(), outputs[BASELINE].float()),
        limit=LIMITS[PRECISIONS[PRECISION]],
    )
    return found, [agreement]


@torch.inference_mode()
def draw(
    name: str,
    network: nn.Module,
    config: PixelTransformerConfig,
    size: Sides,
    asked: argparse.Namespace,
    device: torch.device,
) -> Drawing:
    """One guided image, with the published sampler's settings."""
    shift = 3.0 if size[0] * size[1] <= 512**2 else 4.0
    settings = SamplerConfig(
        name="dpmpp_2m", steps=asked.steps, guidance=asked.guidance, guidance_low=0.0, shift=shift, precision=PRECISION
    )
    noise, _, text = inputs(config, size, 1, device)
    nothing = Text(torch.randn_like(text.tokens))
    seconds = time_once(lambda: sample(network, noise, text, settings, nothing), device)
    return Drawing(contender=name, size=said(size), seconds=seconds, steps=asked.steps)


def said(size: Sides) -> str:
    return "{}x{}".format(*size)


def heading() -> str:
    columns = ("median", "lowest", "highest", "TFLOP/s", "of matrices", "weights", "scratch", "estimated", "over bf16")
    return f"{'network call':32} {' '.join(f'{name:>11}' for name in columns)}"


def row_text(row: Row, beside: list[Row], rate: float) -> str:
    baseline = next(each for each in beside if each.contender == BASELINE)
    times = [f"{value * 1000:,.1f} ms" for value in row.seconds]
    reached = row.flops / row.seconds.median
    speed = [f"{reached / 1e12:.3g}", f"{reached / rate:.1%}"]
    memory = [mebibytes(size) for size in (row.weights_bytes, row.scratch_bytes, row.estimated_bytes)]
    ratio = f"{row.seconds.median / baseline.seconds.median:.3f}"
    first = f"   first call {row.first_s:.1f} s" if row.contender == COMPILED else ""
    cells = " ".join(f"{cell:>11}" for cell in [*times, *speed, *memory, ratio])
    return f"{row.size + ', ' + str(row.rows) + ' rows, ' + row.contender:32} {cells}{first}"


def drawing_text(drawings: list[Drawing], guidance: float) -> list[str]:
    if not drawings:
        return []
    lines = [f"\n{f'one image, {drawings[0].steps} steps, guidance {guidance}':44} {'seconds':>11} {'images/s':>11}"]
    for each in drawings:
        lines.append(f"{each.size + ', ' + each.contender:44} {each.seconds:>11.3f} {1 / each.seconds:>11.3f}")
    return lines


def main(words: list[str] | None = None) -> int:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler that counts memory has nothing else to say
    made = parser()
    asked = made.parse_args(words)
    for name in ("rounds", *(["steps"] if asked.steps else [])):
        if getattr(asked, name) < 1:
            made.error(f"--{name} {getattr(asked, name)} is below 1")
    if min(asked.rows) < 1:
        made.error(f"--rows {min(asked.rows)} is below 1")
    started = time.perf_counter()
    try:
        report = measure(asked)
    except ValueError as error:
        made.error(str(error))
    print(f"\n{time.perf_counter() - started:.0f} s in all")
    if asked.json is not None:
        asked.json.write_text(json.dumps(asdict(report) | {"same": report.same}, indent=2) + "\n")
    return 0 if report.same else 1


if __name__ == "__main__":
    sys.exit(main())
