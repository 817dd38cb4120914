"""Grids of samples of many runs, drawn from the same noise and classes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from unlatent.platform.report.findings import SweepFindings
from unlatent.platform.report.marks import SEPARATOR, notes
from unlatent.platform.report.points import Row, records
from unlatent.platform.report.thumbnails import Thumbnail, thumbnail
from unlatent.platform.report.wording import count, plural
from unlatent.platform.store import Store

MOST_GRIDS = 60  # in a page
SEEN_AT_ONCE = 12  # the others are folded away
LARGEST = (660, 48_000)  # pixels across and bytes of each
READERS = 8  # at once: an object store takes its time for each


@dataclass(frozen=True)
class Samples:
    """The last grid of a point's best run."""

    run_id: str
    label: str
    images_seen: str
    notes: list[str]
    picture: Thumbnail


def samples_of(store: Store, sweep: SweepFindings) -> list[Samples]:
    """In the table's order; the first so many."""
    points = records(sweep.points.head(MOST_GRIDS))
    with ThreadPoolExecutor(READERS) as pool:
        files = list(pool.map(lambda point: last_grid(store, point["run_id"]), points))
    return [grid_of(sweep, point, *file) for point, file in zip(points, files, strict=True) if file]


def last_grid(store: Store, run_id: str) -> tuple[int, bytes] | None:
    """How many images a run had seen, and the PNG; None where it has left no grid."""
    folder = f"artifacts/{run_id}/samples"
    names = [name for name in store.list(folder) if name.endswith(".png")]
    return (int(names[-1].removesuffix(".png")), store.read_bytes(f"{folder}/{names[-1]}")) if names else None


def grid_of(sweep: SweepFindings, point: Row, images_seen: int, png: bytes) -> Samples:
    said = notes(sweep, point).split(SEPARATOR)
    return Samples(point["run_id"], said[0], count(images_seen), said, thumbnail(png, *LARGEST))


def left_out(sweep: SweepFindings, shown: list[Samples]) -> str:
    """Why some have no grid here."""
    said, rest = [], len(sweep.points) - MOST_GRIDS
    if without := min(len(sweep.points), MOST_GRIDS) - len(shown):
        said.append(f"{plural(without, sweep.noun)} left no grid of samples.")
    if rest > 0:
        said.append(f"The {rest:,} behind the first {MOST_GRIDS} are left out: theirs are in the store, in artifacts/.")
    return " ".join(said)
