"""Runs of several workers that hold the network together, and their checkpoints: on real processes, without Ray."""

import shutil

import pytest
import torch
import torch.distributed

from tests.platform.conftest import SMALLEST
from tests.processes import in_processes
from unlatent.platform import checkpoints, runs, tables
from unlatent.platform.config import compose_config
from unlatent.platform.crew import join
from unlatent.platform.datasets import open_dataset
from unlatent.platform.devices import mesh_of_all
from unlatent.platform.generation import load_model
from unlatent.platform.learner import make_learner
from unlatent.platform.runs import plan_run
from unlatent.platform.store import Store
from unlatent.platform.training import Worker, train

BATCH = "train.batch_size=24"
SHARDED = "train.parallel=fsdp"
POWER = "train.ema_power_widths=[0.1]"
LONGER = "train.total_images=480"


@pytest.fixture
def train_run(store, smallest, tmp_path):
    """Trains a run by so many workers."""

    def start(world: int, name: str, *overrides: str, cut_after: int | None = None) -> None:
        settings = [*smallest, BATCH, f"store={store.root}", f"train.run={name}", *overrides]
        in_processes(world, tmp_path, train_in_crew, settings, cut_after)

    return start


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The store in which two workers have trained such a run, called as any other, and nothing has happened to it."""
    done: dict[tuple[str, ...], Store] = {}

    def make(*overrides: str) -> Store:
        if overrides not in done:
            folder = tmp_path_factory.mktemp("undisturbed")
            done[overrides] = Store(folder / "store")
            settings = [*SMALLEST, BATCH, f"store={done[overrides].root}", "train.run=run", *overrides]
            in_processes(2, folder, train_in_crew, settings, None)
        return done[overrides]

    return make


def train_in_crew(rank: int, world: int, overrides: list[str], cut_after: int | None) -> None:
    """Trains; or stops dead before what it has written after so many checkpoints is reported."""
    config, reported = compose_config(overrides), []

    def report(checkpoint):
        reported.append(checkpoint)
        if len(reported) == cut_after:
            torch.distributed.destroy_process_group()
            raise SystemExit(1)

    store = Store(config.store)
    wrap = {"wrap": torch.nn.parallel.DistributedDataParallel} if world > 1 else {}
    run = plan_run(config, open_dataset(config.data, store))
    train(run, store, Worker(crew=join(rank, world), writers=join(rank, world), report=report, **wrap))


def last(store, run_id):
    return runs.last_checkpoint(store, run_id)


def difference(ours, theirs):
    """The largest one between the weights of two runs' ends; each a store and a run in it."""
    stores, found = (ours[0], theirs[0]), (last(*ours), last(*theirs))
    assert found[0].images_seen == found[1].images_seen
    each = list(zip(stores, found, strict=True))
    kinds = [[checkpoints.load_weights(store, end, kind) for store, end in each] for kind in found[0].kinds]
    return max((mine[name] - other[name]).abs().max().item() for mine, other in kinds for name in other)


def test_a_sharded_run_ends_as_one_whose_workers_hold_all_of_it(undisturbed):
    sharded, whole = undisturbed(POWER, SHARDED), undisturbed(POWER)

    assert last(sharded, "run").parts == 2
    assert difference((sharded, "run"), (whole, "run")) < 1e-5
    ours, theirs = (tables.read(each, "steps").sort_values("images_seen") for each in (sharded, whole))
    assert ours["loss"].to_list() == pytest.approx(theirs["loss"].to_list(), abs=1e-5)
    assert ours["grad_norm"].to_list() == pytest.approx(theirs["grad_norm"].to_list(), rel=1e-4)
    snapshot = checkpoints.snapshots_of(sharded, "run")[-1]
    assert snapshot.parts == 2 and checkpoints.load_weights(sharded, snapshot, "power-0.1")


@pytest.mark.slow
def test_an_aligned_run_is_sharded_with_its_projector_and_resumed(store, train_run, teacher):
    aligned = ["model.patch_depth=2", "train.alignment.block=1", "train.alignment.teacher_patch=2", teacher]
    train_run(2, "ddp", *aligned)
    with pytest.raises(torch.multiprocessing.ProcessExitedException):
        train_run(2, "fsdp", SHARDED, *aligned, cut_after=1)

    train_run(2, "fsdp", SHARDED, *aligned)

    assert difference((store, "fsdp"), (store, "ddp")) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"), [((2, SHARDED), (3, SHARDED)), ((2, SHARDED), (1,)), ((1,), (2, SHARDED))]
)
def test_any_number_of_workers_goes_on_with_the_run_of_any_other(store, train_run, before, after):
    for world, *_ in (before, after):
        train_run(world, "ddp", POWER, *([LONGER] if world == after[0] else []))
    train_run(before[0], "fsdp", POWER, *before[1:])

    train_run(after[0], "fsdp", POWER, LONGER, *after[1:])

    assert last(store, "fsdp").parts == (after[0] if SHARDED in after else 1)
    assert difference((store, "fsdp"), (store, "ddp")) < 1e-5


def test_a_sharded_run_that_is_cut_off_ends_as_the_undisturbed_one(store, train_run, undisturbed):
    with pytest.raises(torch.multiprocessing.ProcessExitedException):
        train_run(2, "cut", POWER, SHARDED, cut_after=1)
    assert last(store, "cut").images_seen < 256

    train_run(2, "cut", POWER, SHARDED)

    assert difference((store, "cut"), (undisturbed(POWER, SHARDED), "run")) == 0


def test_a_checkpoint_with_a_damaged_part_is_passed_over_by_all_workers(store, train_run, undisturbed):
    shutil.copytree(undisturbed(POWER, SHARDED).root, store.root)
    damaged = last(store, "run")
    store.write_bytes(f"{damaged.path}/ema.2-of-2.safetensors", b"cut off")
    whole, [said] = checkpoints.newest(store, "run")

    train_run(2, "run", POWER, SHARDED)

    assert whole.images_seen == 144 and "is damaged: ema.2-of-2.safetensors is not what was saved" in said
    assert last(store, "run").path == damaged.path, "made again"
    assert difference((store, "run"), (undisturbed(POWER, SHARDED), "run")) == 0


def test_images_are_drawn_from_a_sharded_checkpoint_as_from_any_other(undisturbed):
    stores = undisturbed(POWER), undisturbed(POWER, SHARDED)

    models = [load_model(store, last(store, "run").path, "ema", torch.device("cpu")) for store in stores]

    ours, theirs = (model.generate(["3"], [5])[0] for model in models)
    assert max(abs(a - b) for a, b in zip(ours.tobytes(), theirs.tobytes(), strict=True)) <= 1


class Noting(Store):
    """Notes which files it has read."""

    def read_bytes(self, path):
        self.read = [*getattr(self, "read", []), path.rpartition("/")[2]]
        return super().read_bytes(path)


def load(rank: int, world: int, root: str, overrides: list[str]) -> None:
    store, device = Noting(root), torch.device("cpu")
    run = plan_run(compose_config(overrides), open_dataset(compose_config(overrides).data, store))
    checkpoint = last(store, "run")
    learner = make_learner(run.config.model, run.config.train, device, mesh_of_all(device))
    store.read = []

    learner.load(store, checkpoint)

    each = ["model", "ema", "power-0.1"]
    each = [*(f"{kind}.{{}}-of-{{}}.safetensors" for kind in each), "state.{}-of-{}.pt"]
    numbers = [rank + 1] if world == checkpoint.parts else range(1, checkpoint.parts + 1)
    assert store.read == [name.format(number, checkpoint.parts) for name in each for number in numbers]


@pytest.mark.parametrize("world", [2, 3])
def test_as_many_workers_as_wrote_a_checkpoint_read_their_own_part_alone(undisturbed, tmp_path, world):
    store = undisturbed(POWER, SHARDED)

    in_processes(world, tmp_path, load, store.root, [*SMALLEST, BATCH, POWER, f"store={store.root}"])


def fail_alone(rank: int, world: int) -> None:
    crew = join(rank, world)

    assert crew.each(lambda: rank * 10) == [0, 10]
    assert crew.led(lambda: f"from {rank}") == "from 0"
    with pytest.raises(OSError, match="no room at 1"):
        crew.each(lambda: full(rank))
    assert crew.each(lambda: rank) == [0, 1], "out of step"


def full(rank: int) -> None:
    if rank == 1:
        raise OSError(f"no room at {rank}")


def test_what_goes_wrong_with_one_worker_is_raised_by_all(tmp_path):
    in_processes(2, tmp_path, fail_alone)
