"""`unlatent edits`, with a network that has been trained for a moment."""

import json
import sys

import pytest

from tests.networks_that_look import write_encoder, write_lpips
from tests.platform.conftest import SMALLEST
from unlatent.pipelines.__main__ import run_command
from unlatent.platform import tables
from unlatent.platform.config import compose_config
from unlatent.platform.datasets import open_dataset
from unlatent.platform.edit_study.perception import LPIPS, STRUCTURE
from unlatent.platform.runs import plan_run
from unlatent.platform.store import Store
from unlatent.platform.training import Worker, train


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory) -> Store:
    """A store with a run of two checkpoints."""
    store = Store(tmp_path_factory.mktemp("trained") / "store")
    data = ["data=parquet", f"data.root={scenes.root}/images", "data.image_size=64", "data.workers=0"]
    sizes = ["model.pixel_width=4", "model.patch_size=16", "model.text.width=16", "train.run=mine"]
    config = compose_config([f"store={store.root}", "model=text_tiny", *SMALLEST, *data, *sizes])
    train(plan_run(config, open_dataset(config.data, store)), store, Worker())
    return store


@pytest.fixture
def edits(capsys, monkeypatch, tmp_path, trained):
    """Runs the command in this process; its exit status, and what it has said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        small = ["edits.pairs=2", "edits.n_max=[2]", "edits.target_guidance=[2]", "edit.steps=3", "edit.n_max=2"]
        given = ["unlatent", "edits", *map(str, arguments), f"store={trained.root}", *small]
        monkeypatch.setattr(sys, "argv", given)
        return run_command(), *capsys.readouterr()

    return run


def test_it_leaves_a_report_and_rows_that_results_lists(edits, scenes, trained, tmp_path, monkeypatch, capsys):
    status, said, _ = edits("mine", "checkpoints/mine/000000000128", "--pairs", scenes.root, "--out", "out")

    page = (tmp_path / "out" / "report.html").read_text()
    assert status == 0 and "report: out/report.html" in said and "2 pairs of" in said
    assert "through mine/000000000256" in page and "through mine/000000000128" in page
    assert len(tables.read(trained, "edits")) == 6
    monkeypatch.setattr(sys, "argv", ["unlatent", "results", "edits", f"store={trained.root}"])
    assert run_command() == 0 and "background_mse" in capsys.readouterr().out

    edits("mine", "--pairs", scenes.root)
    assert len(tables.read(trained, "edits")) == 6  # found again
    assert "through pixels" in (tmp_path / "edits" / "report.html").read_text()


def test_with_weights_at_hand_it_measures_how_edits_look_and_what_became_of_the_structure(edits, scenes, tmp_path):
    pytest.importorskip("transformers")
    named = [f"edits.lpips.weights={write_lpips(tmp_path / 'lpips')}", "edits.lpips.any_weights=true"]
    named.append(f"edits.structure.encoder={write_encoder(tmp_path / 'dino')}")

    status, _, _ = edits("mine", "--pairs", scenes.root, "--out", "out", *named)

    attempts = json.loads((tmp_path / "out" / "results.json").read_text())["attempts"]
    assert status == 0 and len(attempts) == 3
    assert all(each[f"{name}_by"] and each[name] is not None for each in attempts for name in (LPIPS, STRUCTURE))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--pairs", "nowhere"], "no checkpoint is named; a run's id would do"),
        (["mine", "--pairs", "nowhere"], "nowhere holds no scenes"),
        (["yours", "--pairs", "SCENES"], "'yours' is neither a run nor a checkpoint's path"),
        (["mine", "mine", "--pairs", "SCENES"], "names of their own would do"),
        (["mine", "--pairs", "SCENES", "--out", __file__], f"--out={__file__} cannot be a folder: {__file__} is none"),
        (["mine", "--pairs", "SCENES", "edits.n_maxx=[3]"], "edits.n_maxx is not a key of the config"),
        (["mine", "--pairs", "SCENES", "edits.lpips.weights=no"], "alexnet-owt-7be5be79.pth cannot be read"),
        (["mine", "--pairs", "SCENES", "edits.structure.encoder=no"], "/no is no folder; one with config.json"),
    ],
)
def test_what_cannot_work_is_one_line_and_nothing_is_written(edits, scenes, tmp_path, arguments, named):
    status, _, error = edits(*[scenes.root if given == "SCENES" else given for given in arguments])

    assert status == 2 and named in error and error.count("\n") == 1
    assert not (tmp_path / "edits").exists()


def test_help_has_an_example(edits):
    status, said, _ = edits("--help")

    assert status == 0 and "unlatent edits pixels-1a2b3c4d5e latents-5e4d3c2b1a --pairs scenes" in said
