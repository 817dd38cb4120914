from unlatent.platform import tables
from unlatent.platform.tuning.budget import Measured
from unlatent.platform.tuning.decisions import Decision, Decisions
from unlatent.platform.tuning.running import run_sweep

ASHA = "knobs: {train.learning_rate: [1.0e-3, 1.0e-4]}\nscheduler: asha\nrung_images: 200\n"
IMAGES = ("train.total_images=400", "train.checkpoint_images=200", "train.batch_size=50")


def test_a_trial_that_was_to_stop_when_all_died_is_not_run_again(plan, record, store, tmp_path):
    sweep = plan(ASHA, *IMAGES)
    good, bad = sweep.trials
    record(sweep, good, "succeeded", {200: 3.0, 400: 2.0})
    record(sweep, bad, "running", {200: 9.0})
    Decisions(sweep).keep(Measured(bad.run_id, 200, 9.0), Decision(True, "fid 9 where another had 3"))

    best = run_sweep(str(tmp_path / "mine.yaml"), [f"store={store.root}", *IMAGES])

    row = tables.row(store, "runs", bad.run_id)
    assert best.run_id == good.run_id
    assert (row["status"], row["stopped_because"]) == ("stopped_early", "fid 9 where another had 3")
    assert tables.row(store, "sweeps", "mine")["status"] == "succeeded"
