"""Training on captions: a network learns what words mean, by the same loop that learns classes."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import unlatent
from unlatent.models.samplers import SamplerConfig
from unlatent.platform import checkpoints, cluster, tables
from unlatent.platform.batches import batches
from unlatent.platform.conditions import conditions_of
from unlatent.platform.evaluation import EvaluationConfig, evaluate_checkpoint
from unlatent.platform.generation import load_model
from unlatent.platform.training import Worker, train

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220)}
READING = ["model.condition=text", "model.text.encoder=bytes", "model.text.width=32", "model.text.tokens=4"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """240 pictures of one colour each, somewhat lighter or darker, whose captions name it; the labels, too."""
    random, root = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "colours"
    root.mkdir()
    images, names = [], []
    for number in range(240):
        name = list(COLOURS)[number % 3]
        pixels = np.array(COLOURS[name]) + random.integers(-20, 21) + random.integers(-3, 4, (8, 8, 3))
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
        images.append(file.getvalue())
        names.append(name)
    captions = [f"a {name} image" for name in names]
    table = pa.table({"image": images, "label": names, "caption": captions})
    pq.write_table(table, root / "all.parquet", row_group_size=64)
    return root


@pytest.fixture
def make_text_run(make_run, shards):
    def make(*overrides):
        data = ["data=parquet", f"data.root={shards}", "data.image_size=8", "data.workers=0", "model.patch_size=4"]
        return make_run(*data, *READING, *overrides)

    return make


def seen_colour(picture) -> str:
    mean = np.asarray(picture, dtype=float).mean(axis=(0, 1))
    return min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())


def test_it_draws_what_the_words_say(make_text_run, store):
    run = make_text_run(
        "train.total_images=16384", "train.checkpoint_images=16384", "train.log_images=4096", "train.batch_size=64",
        "train.learning_rate=5e-3", "model.width=32", "train.ema_decays=[0.98]",
    )  # fmt: skip
    train(run, store, Worker())
    model = unlatent.load(store.local(f"{checkpoints.folder(run.run_id)}/000000016384"))

    said = [f"a {name} image" for name in COLOURS for _ in range(5)]
    drawn = model.generate(said, range(15), SamplerConfig(steps=8, guidance=2.0, guidance_low=0.0))

    assert [seen_colour(picture) for picture in drawn] == [name for name in COLOURS for _ in range(5)]


def test_a_run_that_was_cut_off_ends_as_the_undisturbed_one(make_text_run, trained_and_cut):
    whole, cut = make_text_run("train.run=whole"), make_text_run("train.run=cut")
    undisturbed, ended = trained_and_cut(whole, cut)

    assert undisturbed.sha256["model.safetensors"] == ended.sha256["model.safetensors"]


def test_it_is_measured_by_what_its_captions_say(make_text_run, store):
    run = make_text_run()
    train(run, store, Worker())
    newest, _ = checkpoints.newest(store, run.run_id)
    config = EvaluationConfig(samples=130, reference_images=200, weights="raw", minimum_accuracy=0.5)

    rows = evaluate_checkpoint(
        store, load_model(store, newest.path, "raw"), run.dataset, config, SamplerConfig(steps=2)
    )

    agreement = {row["metric"]: row["value"] for row in rows}["class_agreement"]
    assert 0 <= agreement <= 1
    row = tables.row(store, "runs", run.run_id)
    assert (row["condition"], row["text_width"], row["text_tokens"]) == ("text", 32, 4)


@pytest.mark.slow
def test_tasks_bring_the_same_captions_in_the_same_order(make_text_run):
    run = make_text_run()
    split, conditions = run.dataset.train, conditions_of(run.config.model)
    order = split.order(0, 24)

    def read(decoders):
        return list(batches(split, order, range(0, 96, 24), 0, 1, decoders, conditions))

    cluster.connect(cluster.ClusterConfig(cpus=2))
    try:
        streamed = read(1)
    finally:
        cluster.disconnect()

    for (images, text), (same_images, same_text) in zip(streamed, read(0), strict=True):
        assert images.equal(same_images)
        assert text.tokens.equal(same_text.tokens) and text.mask.equal(same_text.mask)


def test_other_captions_of_the_same_pictures_are_another_run(make_run, tmp_path):
    root = tmp_path / "pictures"
    (root / "cat").mkdir(parents=True)
    for number in range(10):
        Image.new("RGB", (8, 8), (25 * number, 0, 0)).save(root / "cat" / f"{number}.png")
        (root / "cat" / f"{number}.txt").write_text("a cat")
    told = ["data=imagefolder", f"data.root={root}", "data.image_size=8", "model.patch_size=4"]
    first, first_class = make_run(*told, *READING), make_run(*told)

    (root / "cat" / "3.txt").write_text("a black cat")

    assert make_run(*told, *READING).run_id != first.run_id
    assert make_run(*told).run_id == first_class.run_id
