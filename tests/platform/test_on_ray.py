"""Training and sweeps on a real Ray, at the smallest size."""

import pytest

from unlatent.platform import checkpoints, cluster, runs, tables
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.ray_training import train_on_ray
from unlatent.platform.training import Worker, train
from unlatent.platform.tuning.running import run_sweep

pytestmark = pytest.mark.slow

SMALL = """
overrides:
  - model.width=16
  - model.heads=2
  - model.patch_depth=1
  - model.pixel_depth=1
  - train.total_images=256
  - train.checkpoint_images=64
  - train.log_images=64
  - train.warmup_images=64
  - train.grid_samples=2
  - sampler.steps=2
  - evaluation.samples=100
"""


@pytest.fixture(scope="module", autouse=True)
def ray_cluster():
    cluster.connect(ClusterConfig(cpus=2))
    yield
    cluster.disconnect()


@pytest.fixture
def sweep(store, tmp_path):
    """Runs a sweep from a definition's text."""

    def run(text: str, *overrides: str):
        path = tmp_path / "mine.yaml"
        path.write_text(text + SMALL)
        return run_sweep(str(path), [f"store={store.root}", *overrides])

    return run


def statuses(store) -> list[str]:
    return sorted(tables.read(store, "runs")["status"])


def test_ray_workers_reach_pythons_own_platform_and_select():
    import ray

    @ray.remote
    def look() -> list[str]:
        import platform
        import select

        assert platform.system() and select.select
        return [platform.__file__, str(select)]

    assert not any("unlatent" in where for where in ray.get(look.remote()))


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_workers_train_one_run(store, make_config, parallel):
    shared = f"train.parallel={parallel}"
    run_id = train_on_ray(make_config("cluster.workers=2", "cluster.cpus_per_worker=1", "train.run=pair", shared))

    row = tables.row(store, "runs", run_id)
    assert (row["status"], row["workers"], row["images_seen"]) == ("succeeded", 2, 256)
    assert list(tables.read(store, "steps")["images_seen"]) == [64, 128, 192, 256]
    assert runs.last_checkpoint(store, run_id).parts == (2 if parallel == "fsdp" else 1)


def test_ray_train_trains_what_the_bare_loop_does_and_leaves_a_done_run_alone(store, make_config, make_run, capsys):
    train(make_run("train.run=bare"), store, Worker())
    config = make_config("train.run=ray", "cluster.cpus_per_worker=1")
    train_on_ray(config)
    before = tables.row(store, "runs", "ray")

    train_on_ray(config)

    assert "ray: already trained, 256 images" in capsys.readouterr().out
    assert tables.row(store, "runs", "ray") == before
    bare, on_ray = (
        checkpoints.load_weights(store, runs.last_checkpoint(store, name), "raw") for name in ("bare", "ray")
    )
    assert all((bare[name] - on_ray[name]).abs().max() < 1e-5 for name in bare)


def test_more_workers_than_the_cluster_holds_are_refused_with_the_arithmetic(store, make_config):
    with pytest.raises(
        ValueError, match=r"training needs 4 × 1 CPU, and the whole cluster is 1 node of 2 CPU .* room for 2"
    ):
        train_on_ray(make_config("cluster.workers=4"))
    assert not store.exists("results/runs")


def test_a_run_that_diverges_fails_in_one_line(store, make_config):
    config = make_config(
        "train.learning_rate=1e30", "train.clip_norm=1e30", "train.run=hot", "cluster.cpus_per_worker=1"
    )

    with pytest.raises(RuntimeError, match=r"hot failed: .*the gradient norm was nan at 256 images"):
        train_on_ray(config)
    assert tables.row(store, "runs", "hot")["status"] == "failed"


def test_asha_stops_the_worse_trials_early_and_the_best_goes_on(store, sweep):
    text = """
knobs: {train.learning_rate: [3.0e-2, 1.0e-2, 1.0e-3, 1.0e-6, 1.0e-7, 1.0e-8]}
scheduler: asha
rung_images: 64
metric: fid
"""
    best = sweep(text, "sweep.max_concurrent=1")

    found = statuses(store)
    assert "stopped_early" in found and "succeeded" in found and set(found) == {"stopped_early", "succeeded"}
    assert tables.row(store, "runs", best.run_id)["images_seen"] == 256
    [row] = tables.read(store, "sweeps").to_dict("records")
    assert row["stopped_early"] == found.count("stopped_early") and row["status"] == "succeeded"
    ended = tables.read(store, "runs").set_index("run_id")["ended_at"]
    assert sweep(text).run_id == best.run_id
    assert tables.read(store, "runs").set_index("run_id")["ended_at"].equals(ended), "what was stopped is not taken up"


def test_one_trials_failure_ends_no_other_and_is_a_row_with_its_error(store, sweep):
    best = sweep("knobs: {train.learning_rate: [1.0e+30, 1.0e-3]}\nmetric: fid", "train.clip_norm=1e30")

    assert best.knobs == {"train.learning_rate": 1e-3}
    failed = tables.read(store, "runs").query("status == 'failed'")
    assert len(failed) == 1 and "FloatingPointError: the " in failed["error"].iloc[0]


def test_a_finished_sweep_is_not_repeated(store, sweep):
    text = "knobs: {model.patch_size: [2, 4]}\nmetric: fid"
    best = sweep(text)
    before = tables.read(store, "runs").set_index("run_id")["ended_at"]

    assert sweep(text).run_id == best.run_id
    assert tables.read(store, "runs").set_index("run_id")["ended_at"].equals(before)


def test_a_trial_that_can_never_be_placed_is_refused_before_anything_starts(store, sweep):
    with pytest.raises(
        ValueError, match=r"a trial needs 1 × 64 CPU, and the whole cluster is 1 node of 2 CPU .* room for 0"
    ):
        sweep("knobs: {model.patch_size: [2]}\nmetric: fid", "cluster.cpus_per_trial=64")
    assert not store.exists("results/sweeps")
