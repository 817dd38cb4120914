"""`unlatent benchmark`, from captions to a ranking: a tiny network of texts is trained, draws, and is scored."""

import json
import shutil
import sys

import pandas as pd
import pytest
from PIL import Image

from tests.suite_files import PROMPTS, RESULTS, SCORES, WITHOUT_ONE
from unlatent.pipelines.__main__ import run_command
from unlatent.platform.config import compose_config
from unlatent.platform.datasets import open_dataset
from unlatent.platform.runs import plan_run
from unlatent.platform.scenes import ScenePlan, write_scenes
from unlatent.platform.store import Store
from unlatent.platform.training import Worker, train

TEXT = ["model.condition=text", "model.text.encoder=bytes", "model.text.width=32", "model.text.tokens=24"]
SCENES = ["data=parquet", "data.image_size=64", "data.workers=0", "model.patch_size=16", "train.batch_size=16"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with a run on captioned scenes, `reader`, and one on digits, `digits`."""
    from tests.platform.conftest import SMALLEST

    root = tmp_path_factory.mktemp("trained")
    write_scenes(ScenePlan(images=30, pairs=0, image_size=64), Store(root / "scenes"), 1, lambda done, total: None)
    short = [f"store={root / 'store'}", "train.total_images=64", "train.checkpoint_images=64", "train.log_images=64"]
    for overrides in (
        ["train.run=reader", *SCENES, f"data.root={root / 'scenes' / 'images'}", *TEXT],
        ["train.run=digits"],
    ):
        config = compose_config([*SMALLEST, *short, *overrides])
        store = Store(config.store)
        train(plan_run(config, open_dataset(config.data, store)), store, Worker())
    return root / "store"


@pytest.fixture
def unlatent(trained, capsys, monkeypatch, tmp_path):
    """Runs a command on that store in this process; its exit status, and what it has said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        store = [] if "--help" in arguments else [f"store={trained}"]
        monkeypatch.setattr(sys, "argv", ["unlatent", *map(str, arguments), *store])
        return run_command(), *capsys.readouterr()

    return run


def test_geneval_from_a_trained_network_to_a_ranking(unlatent, tmp_path):
    status, said, _ = unlatent("benchmark", "geneval", "reader", "--prompts", PROMPTS["geneval"], "--out", "images")
    shutil.copy(RESULTS["geneval"], tmp_path / "images" / "results.jsonl")
    scored, table, _ = unlatent("benchmark", "scores", "images", "images/results.jsonl")
    ranked, listed, _ = unlatent("results", "runs", "--best", "geneval", "--json")
    _, exported, _ = unlatent("results", "evaluations", "--where", "dataset == 'geneval'", "--csv")

    assert (status, scored, ranked) == (0, 0, 0)
    assert "7 prompts, 28 images of checkpoints/reader/000000000064 in images/" in said
    assert f"evaluate_images.py {tmp_path}/images --outfile {tmp_path}/images/results.jsonl" in said
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [
        *[f"0000{number}" for number in range(7)], "prepared.json", "results.jsonl",
    ]  # fmt: skip
    assert Image.open(tmp_path / "images" / "00006" / "samples" / "0003.png").size == (64, 64)
    assert "geneval_counting" in table and "0.1250" in table
    assert json.loads(listed)["run_id"] == "reader" and json.loads(listed)["geneval"] == pytest.approx(
        0.39583, abs=1e-5
    )
    assert exported.count("\n") == 1 + len(SCORES["geneval"])


def test_dpg_from_a_trained_network_to_rows(unlatent, tmp_path, trained):
    asked = ["benchmark", "dpg", "checkpoints/reader/000000000064", "--prompts", PROMPTS["dpg"], "--out", "images"]
    settings = ["evaluation.weights=raw", "sampler.steps=3", "sampler.guidance=2.75"]
    status, said, _ = unlatent(*asked, "--seed", "3", "--negative-prompt", "a blur", *settings)
    scored, _, _ = unlatent("benchmark", "scores", "images", RESULTS["dpg"], "--judge", "another reader")

    rows = pd.read_parquet(trained / "results" / "evaluations").query("dataset == 'dpg' and seed == 3")
    assert (status, scored) == (0, 0) and f"dist_eval.sh {tmp_path}/images 64" in said
    assert Image.open(tmp_path / "images" / "star2.png").size == (128, 128)
    assert set(rows["metric"]) == set(SCORES["dpg"])
    assert (rows[["seed", "steps", "image_size", "samples"]].drop_duplicates().values == [[3, 3, 64, 12]]).all()
    assert set(rows["weights"]) == {"raw"} and set(rows["feature_extractor"]) == {"another reader"}
    assert set(rows["negative_prompt"]) == {"a blur"} and set(rows["guidance"]) == {2.75}


def test_scores_say_which_prompt_they_are_without(unlatent, tmp_path, trained):
    shutil.copytree(PROMPTS["dpg"], tmp_path / "prompts")
    (tmp_path / "prompts" / "partiprompts97.txt").write_text("A boat below a moon.")
    asked = ["benchmark", "dpg", "reader", "--prompts", "prompts", "--out", "images", "--seed", "9", "sampler.steps=1"]
    drawn, _, _ = unlatent(*asked)
    scored, said, _ = unlatent("benchmark", "scores", "images", WITHOUT_ONE)

    rows = pd.read_parquet(trained / "results" / "evaluations").query("dataset == 'dpg' and seed == 9")
    assert (drawn, scored) == (0, 0) and "12 images, judged by dpg" in said
    assert "not among them: those of partiprompts97, at which the scorer fails" in said
    assert rows["reference"].str.endswith("64px without partiprompts97").all() and set(rows["samples"]) == {12}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["geneval", "digits", "--prompts", PROMPTS["geneval"]], "000000000064 makes images of classes"),
        (["geneval", "nobody", "--prompts", PROMPTS["geneval"]], "'nobody' is neither a run nor a checkpoint's path"),
        (
            ["geneval", "reader", "--prompts", "nowhere"],
            "nowhere cannot be read (No such file or directory); prompts/eva",
        ),
        (
            ["geneval", "reader", "--prompts", PROMPTS["dpg"]],
            "prompts cannot be read (Is a directory); prompts/evaluation",
        ),
        (
            ["dpg", "reader", "--prompts", PROMPTS["geneval"]],
            "evaluation_metadata.jsonl is no folder with .txt files in it",
        ),
        (["dpg", "reader", "--prompts", PROMPTS["dpg"], "sampler.steps=0"], "steps=0 is below 1"),
        (
            ["dpg", "reader", "--prompts", PROMPTS["dpg"], "--negative-prompt", "a blur", "sampler.guidance=1"],
            "negative_prompt has no effect without guidance; guidance=2 would do",
        ),
    ],
)
def test_what_cannot_work_is_one_line_and_nothing_is_written(unlatent, tmp_path, arguments, named):
    status, _, error = unlatent("benchmark", *arguments, "--out", "images")

    assert status == 2 and named in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["geneval", "dpg", "scores"])
def test_help_has_an_example(unlatent, command):
    status, said, _ = unlatent("benchmark", command, "--help")

    assert status == 0 and f"unlatent benchmark {command} " in said
