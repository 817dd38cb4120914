"""Training on a real Ray whose workers are killed, as the system kills: no last words."""

import contextlib
import shutil
import threading
import time

import psutil
import pytest

from tests.lines import Line
from tests.picture_files import make_pictures, write_folder
from tests.platform.conftest import SMALLEST
from unlatent.platform import checkpoints, cluster, runs, tables
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.config import compose_config
from unlatent.platform.datasets import open_dataset
from unlatent.platform.ray_training import train_on_ray
from unlatent.platform.runs import plan_run
from unlatent.platform.store import Store

pytestmark = pytest.mark.slow

LONG = (
    "train.run=one",
    "train.total_images=8192",
    "train.checkpoint_images=1024",
    "train.log_images=1024",
    "cluster.cpus_per_worker=1",
)


@pytest.fixture(scope="module", autouse=True)
def ray_cluster():
    cluster.connect(ClusterConfig(cpus=2))
    yield
    cluster.disconnect()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The store of such a run to which nothing happens; each is trained once."""
    done: dict[tuple[str, ...], Store] = {}

    def make(*settings: str) -> Store:
        if settings not in done:
            done[settings] = Store(tmp_path_factory.mktemp("undisturbed"))
            train_on_ray(compose_config([*SMALLEST, *LONG, *settings, f"store={done[settings].root}"]))
        return done[settings]

    return make


def workers() -> list[psutil.Process]:
    """Those of a training run, of this process's own Ray."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if any("RayTrainWorker" in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:  # it has just ended
            continue
    return found


class Killing:
    """Kills a worker once the run has a checkpoint, and says when in the run that was; does something else before."""

    def __init__(self, store: Store, rank: int, before=lambda: None, run_id: str = "one") -> None:
        self.store, self.rank, self.before, self.run_id, self.at = store, rank, before, run_id, 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            row = tables.row(self.store, "runs", self.run_id)
            if row and row["images_seen"]:
                self.before()
                first = row["pid"]
                others = [process for process in workers() if process.pid != first]
                (psutil.Process(first) if self.rank == 0 else others[0]).kill()
                self.at = row["images_seen"]
                return
            time.sleep(0.01)


def largest_difference(ours: Store, theirs: Store, kind: str) -> float:
    last = {each: checkpoints.newest(each, "one")[0] for each in (ours, theirs)}
    assert [found.images_seen for found in last.values()] == [8192, 8192]
    mine, other = (checkpoints.load_weights(each, found, kind) for each, found in last.items())
    return max((mine[name] - other[name]).abs().max().item() for name in mine)


def losses(store: Store) -> list[float]:
    return tables.read(store, "steps").sort_values("images_seen")["loss"].to_list()


@pytest.mark.parametrize(
    ("count", "rank", "parallel", "tolerance"), [(1, 0, "ddp", 0.0), (2, 1, "ddp", 1e-5), (2, 0, "fsdp", 1e-5)]
)
def test_a_run_whose_worker_is_killed_ends_as_the_undisturbed_one(
    store, make_config, undisturbed, count, rank, parallel, tolerance
):
    shared = [] if count == 1 else [f"cluster.workers={count}", f"train.parallel={parallel}"]
    beside = undisturbed(*shared)
    killing = Killing(store, rank)

    train_on_ray(make_config(*LONG, *shared))

    assert 0 < killing.at < 8192
    row = tables.row(store, "runs", "one")
    assert (row["status"], row["workers"]) == ("succeeded", count)
    assert all(largest_difference(store, beside, kind) <= tolerance for kind in ("raw", "ema"))
    assert losses(store) == pytest.approx(losses(beside), abs=tolerance, rel=0)


def test_a_run_whose_images_have_changed_when_a_worker_is_restarted_fails_and_does_not_start_afresh(
    store, make_config, tmp_path
):
    write_folder(tmp_path / "pictures", make_pictures())
    data = ["data=imagefolder", f"data.root={tmp_path / 'pictures'}", "data.image_size=8", "data.workers=0"]
    unnamed = [setting for setting in LONG if not setting.startswith("train.run=")]
    run_id = plan_run(config := make_config(*unnamed, *data), open_dataset(config.data, store)).run_id
    Killing(store, 0, lambda: (tmp_path / "pictures" / "cat" / "new.png").write_bytes(make_pictures()[0]), run_id)

    with pytest.raises(RuntimeError, match=rf"{run_id} failed: .*was started with data\.hash="):
        train_on_ray(config)

    [row] = tables.read(store, "runs").to_dict("records")
    assert (row["run_id"], row["status"]) == (run_id, "failed") and 0 < row["images_seen"] < 8192


def test_a_run_whose_last_checkpoint_is_cut_off_ends_as_the_undisturbed_one(store, make_config, undisturbed):
    shutil.copytree(undisturbed().root, store.root)
    last = runs.last_checkpoint(store, "one")
    store.write_bytes(f"{last.path}/state.pt", store.read_bytes(f"{last.path}/state.pt")[:1000])

    train_on_ray(make_config(*LONG))

    assert last.images_seen == 8192 and runs.last_checkpoint(store, "one").path == last.path, "made again"
    assert all(largest_difference(store, undisturbed(), kind) == 0 for kind in ("raw", "ema"))
    assert losses(store) == losses(undisturbed())


def test_workers_that_diverge_go_back_to_one_checkpoint_together_and_on_at_a_lower_rate(store, make_config):
    thrown = [
        "train.schedule=constant",
        "train.drop_images=4096",
        "train.dropped_learning_rate=1e30",
        "train.dropped_clip_norm=1e30",
    ]
    lower = ["train.spikes.action=rollback", "train.spikes.lowered=1e-33"]

    train_on_ray(make_config(*LONG, *thrown, *lower, "cluster.workers=2"))

    row = tables.row(store, "runs", "one")
    assert (row["status"], row["images_seen"]) == ("succeeded", 8192)
    events = tables.read(store, "events")
    assert list(events["event"]) == ["rolled_back"] and 4096 < events["images_seen"].iloc[0] <= 5120
    assert sorted(tables.read(store, "steps")["images_seen"]) == list(range(1024, 8193, 1024))


def test_a_full_disk_is_told_and_the_same_command_goes_on_when_there_is_room(make_config, undisturbed, disk):
    settings = (*LONG, "train.keep_checkpoints=1", "cluster.max_failures=0")
    small, filler = Store(disk / "store"), disk / "filler"
    filler.write_bytes(bytes(1 << 20))
    told = [*settings, f"store={small.root}"]

    with pytest.raises(RuntimeError, match=rf"one failed: .*StoreFullError: store={small.root} is full"):
        train_on_ray(make_config(*told))
    filler.unlink()
    train_on_ray(make_config(*told))

    assert all(largest_difference(small, undisturbed(), kind) == 0 for kind in ("raw", "ema"))
    assert losses(small) == losses(undisturbed())


def test_an_object_store_that_is_away_for_a_minute_is_waited_for(remote_store, server, make_config, undisturbed):
    beside = undisturbed()
    line = Line(int(server.rpartition(":")[2]))
    far = Store(remote_store.root.replace(server, f"127.0.0.1:{line.port}"))
    away = threading.Thread(target=cut_for, args=(line, far, 60.0), daemon=True)
    away.start()
    started = time.monotonic()

    with connected_anew():  # workers of a Ray that was there before know no S3 credentials
        train_on_ray(make_config(*LONG, f"store={far.root}"))

    assert time.monotonic() - started > 60
    assert all(largest_difference(far, beside, kind) == 0 for kind in ("raw", "ema"))
    assert losses(far) == losses(beside)
    line.down()


def cut_for(line: Line, store: Store, seconds: float) -> None:
    """Cuts a store off once a run in it has a checkpoint."""
    while not ((row := tables.row(store, "runs", "one")) and row["images_seen"]):
        time.sleep(0.05)
    line.down()
    time.sleep(seconds)
    line.up()


@contextlib.contextmanager
def connected_anew():
    cluster.disconnect()
    cluster.connect(ClusterConfig(cpus=2))
    yield


def test_a_run_goes_on_with_more_workers_than_it_began_with(store, make_config):
    short = make_config("train.run=one", "cluster.cpus_per_worker=1")
    train_on_ray(short)

    train_on_ray(
        make_config("train.run=one", "cluster.cpus_per_worker=1", "cluster.workers=2", "train.total_images=512")
    )

    row = tables.row(store, "runs", "one")
    assert (row["status"], row["workers"], row["images_seen"]) == ("succeeded", 2, 512)
    assert sorted(tables.read(store, "steps")["images_seen"]) == list(range(64, 513, 64))
