"""What was measured, as text and as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.kernels import Work
from benchmarks.timing import Spread

NAME_WIDTH = 96  # of a kernel's name, which a compiler may make much longer


@dataclass(kw_only=True)
class Timing:
    """Seconds of one contender."""

    contender: str
    seconds: Spread
    flops: float  # of the network's products in that time
    graphs: int | None = None  # compiled while it was timed; None: nothing is compiled


@dataclass(kw_only=True)
class Footprint:
    """Bytes of one contender."""

    contender: str
    peak: int
    state: int
    kept: int | None = None  # for the backward pass; None: not known


@dataclass(kw_only=True)
class Agreement:
    """How far ours is from a baseline that has the same weights."""

    what: str
    baseline: str
    difference: float
    limit: float | None = None  # None: for information

    @property
    def holds(self) -> bool:
        return self.limit is None or self.difference <= self.limit


@dataclass
class Report:
    setup: dict[str, Any]  # machine, versions, network
    matrix_rate: float  # FLOP/s of the machine
    agreements: list[Agreement] = field(default_factory=list)
    timings: dict[str, list[Timing]] = field(default_factory=dict)  # ours first
    footprints: list[Footprint] = field(default_factory=list)  # ours first
    work: list[Work] = field(default_factory=list)  # ours first

    @property
    def same(self) -> bool:
        return all(agreement.holds for agreement in self.agreements)

    def ratios(self) -> dict[str, dict[str, float]]:
        """Ours over each baseline; below 1 is less time, or less memory."""
        found = {what: over(lines[0], lines[1:], "seconds") for what, lines in self.timings.items()}
        if self.footprints:
            found["peak memory"] = over(self.footprints[0], self.footprints[1:], "peak")
        return found

    def as_json(self) -> dict[str, Any]:
        everything = {**asdict(self), "ratios": self.ratios(), "same": self.same}
        for lines in everything["timings"].values():
            for line in lines:
                line["seconds"] = Spread(*line["seconds"])._asdict()
        return everything


def over(ours: Any, baselines: list[Any], measure: str) -> dict[str, float]:
    def amount(line: Any) -> float:
        value = getattr(line, measure)
        return value.median if isinstance(value, Spread) else value

    return {line.contender: amount(ours) / amount(line) for line in baselines}


def setup_text(setup: dict[str, Any], matrix_rate: float) -> str:
    lines = [f"{name:10} {value}" for name, value in setup.items()]
    return "\n".join([*lines, f"{'matrices':10} {matrix_rate / 1e9:,.0f} GFLOP/s at best, in this precision"])


def timing_text(what: str, lines: list[Timing], matrix_rate: float) -> str:
    ours = lines[0].seconds.median
    text = [f"\n{what:34} {'median':>12} {'lowest':>12} {'highest':>12} {'of matrices':>12} {'ours / it':>10}"]
    for line in lines:
        share = line.flops / line.seconds.median / matrix_rate
        times = " ".join(f"{value * 1000:>9,.1f} ms" for value in line.seconds)
        compiled = f"   {line.graphs} recompiled" if line.graphs is not None else ""
        text.append(f"  {line.contender:32} {times} {share:>12.1%} {ours / line.seconds.median:>10.3f}{compiled}")
    return "\n".join(text)


def footprint_text(lines: list[Footprint]) -> str:
    ours = lines[0].peak
    text = [
        f"\n{'peak memory of a training step':34} {'peak':>12} {'state':>12} {'kept':>12} {'':>12} {'ours / it':>10}"
    ]
    for line in lines:
        sizes = " ".join(f"{mebibytes(value):>12}" for value in (line.peak, line.state, line.kept))
        text.append(f"  {line.contender:32} {sizes} {'':>12} {ours / line.peak:>10.3f}")
    return "\n".join(text)


def work_text(work: Work) -> str:
    text = [
        f"\n{work.contender}: {work.launched:,.0f} kernels a training step take {work.busy * 1000:,.1f} ms "
        f"of {work.whole * 1000:,.1f} ms"
    ]
    for kernel in work.longest:
        share = kernel.seconds / work.busy
        text.append(
            f"  {kernel.seconds * 1000:>9,.2f} ms {share:>6.1%} {kernel.calls:>7,.0f} x  {kernel.name[:NAME_WIDTH]}"
        )
    return "\n".join(text)


def mebibytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:,.0f} MiB"


def agreement_text(lines: list[Agreement]) -> str:
    text = [f"\n{'difference from':73} {'limit':>12} {'found':>10}"]
    for line in lines:
        limit = "-" if line.limit is None else f"{line.limit:.0e}"
        verdict = "" if line.holds else "   too far"
        text.append(f"  {line.baseline + ', ' + line.what:71} {limit:>12} {line.difference:>10.1e}{verdict}")
    return "\n".join(text)
