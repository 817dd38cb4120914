from dataclasses import replace

import numpy as np
import pytest
import torch

from unlatent.models.config import CompactionConfig, PixelTransformerConfig
from unlatent.models.network import PixelTransformer
from unlatent.models.samplers import SamplerConfig
from unlatent.platform import classifier, evaluation, tables
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.evaluation import Evaluation, EvaluationConfig, evaluate_checkpoint, image_seed
from unlatent.platform.features import unpack
from unlatent.platform.generation import LoadedModel
from unlatent.platform.selection import COMPARABLE_IN
from unlatent.platform.store import Store

SAMPLER = SamplerConfig(steps=2)
CONFIG = EvaluationConfig(samples=100, minimum_accuracy=0.5)


@pytest.fixture(scope="module")
def trained_store(tmp_path_factory):
    """A store with a quickly trained classifier in it, for all tests here."""
    store = Store(tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "EPOCHS", 7)
        classifier.fit_classifier(open_dataset(DataConfig(), store), store, 0.5)
    return store


@pytest.fixture
def store(trained_store):
    trained_store.delete("results")
    trained_store.delete("artifacts/run")
    return trained_store


@pytest.fixture(scope="module")
def digits(trained_store):
    return open_dataset(DataConfig(), trained_store)


@pytest.fixture
def model(digits):
    return new_model(digits.classes)


def new_model(classes, image_size=8):
    torch.manual_seed(0)
    sizes = {"width": 16, "heads": 2, "patch_depth": 1, "pixel_width": 4, "pixel_depth": 1, "patch_size": 2}
    config = PixelTransformerConfig(
        image_size=image_size, channels=1, classes=len(classes), compaction=CompactionConfig(), **sizes
    )
    return LoadedModel(
        network=PixelTransformer(config).eval(),
        sampler=SAMPLER,
        classes=list(classes),
        run_id="run",
        checkpoint="checkpoints/run/7",
        checkpoint_hash="abc",
        images_seen=7,
        weights="ema",
    )


def test_whatever_a_value_depends_on_beside_the_checkpoint_parts_what_is_ranked(store, model, digits):
    extractor = evaluation.prepare_extractor(store, digits, CONFIG)
    measured = Evaluation(store=store, model=model, dataset=digits, config=CONFIG, sampler=SAMPLER, extractor=extractor)

    of_the_checkpoint = {"run_id", "checkpoint", "checkpoint_hash", "images_seen"}
    of_suites_alone = {"negative_prompt"}
    assert set(measured.depends_on) - of_the_checkpoint == set(COMPARABLE_IN) - of_suites_alone


def test_every_metric_has_a_row_with_what_it_depends_on(store, model, digits):
    rows = evaluate_checkpoint(store, model, digits, CONFIG, SAMPLER)

    table = tables.read(store, "evaluations")
    assert set(table["metric"]) == {row["metric"] for row in rows}
    assert set(table["metric"]) >= {"fid", "kid", "precision", "recall", "class_agreement", "nearest_neighbour"}
    assert set(table["metric"]) >= {"patch_period_energy", "seconds_per_image", "nearest_neighbour_held_out"}
    assert table.drop(columns=["metric", "value"]).drop_duplicates().shape[0] == 1
    row = table.iloc[0]
    assert (row["samples"], row["steps"], row["weights"], row["dataset_hash"]) == (100, 2, "ema", digits.hash)
    assert row["feature_extractor"] == f"classifier:{digits.hash}"
    assert 0.5 < row["extractor_accuracy"] <= 1
    assert (row["network_evaluations"], row["image_size"]) == (2, 8)


def test_the_same_evaluation_again_does_no_work(store, model, digits, monkeypatch):
    first = evaluate_checkpoint(store, model, digits, CONFIG, SAMPLER)
    monkeypatch.setattr(evaluation, "measure", None)

    again = evaluate_checkpoint(store, model, digits, CONFIG, SAMPLER)

    assert {row["metric"]: row["value"] for row in again} == {row["metric"]: row["value"] for row in first}
    assert len(tables.read(store, "evaluations")) == len(first)


def test_an_evaluation_killed_before_its_rows_were_written_does_not_draw_again(store, model, digits, monkeypatch):
    first = evaluate_checkpoint(store, model, digits, CONFIG, SAMPLER)
    store.delete("results")
    monkeypatch.setattr(evaluation, "generate", None)

    again = evaluate_checkpoint(store, model, digits, CONFIG, SAMPLER)

    assert [row["value"] for row in again] == [row["value"] for row in first]


def test_other_settings_are_another_evaluation(store, model, digits):
    others = (
        (CONFIG, SamplerConfig(steps=3)),
        (CONFIG, SamplerConfig(steps=2, guidance=2.0)),
        (CONFIG, SamplerConfig(steps=2, precision="bf16")),
        (EvaluationConfig(samples=101, minimum_accuracy=0.5), SAMPLER),
        (EvaluationConfig(samples=100, minimum_accuracy=0.5, seed=1), SAMPLER),
        (EvaluationConfig(samples=100, minimum_accuracy=0.5, reference_images=500), SAMPLER),
    )

    rows = [evaluate_checkpoint(store, model, digits, *each)[0] for each in ((CONFIG, SAMPLER), *others)]

    assert len({row["evaluation_id"] for row in rows}) == 7
    assert len({row["reference"] for row in rows}) == 2


@pytest.mark.slow
def test_a_compiled_network_draws_the_same_images(store, model, digits):
    plain = evaluate_checkpoint(store, model, digits, replace(CONFIG, compile=False), SAMPLER)
    store.delete("results/evaluations")
    store.delete("artifacts/run")

    compiled = evaluate_checkpoint(store, model, digits, replace(CONFIG, compile=True), SAMPLER)

    assert model.network._compiled_call_impl is not None
    values = [{row["metric"]: row["value"] for row in rows} for rows in (plain, compiled)]
    assert values[1]["fid"] == pytest.approx(values[0]["fid"], rel=1e-3)


def test_an_image_does_not_depend_on_its_batch_or_on_how_many_there_are(store, model, digits):
    few = EvaluationConfig(samples=100, batch_size=7, minimum_accuracy=0.5)
    many = EvaluationConfig(samples=130, batch_size=50, minimum_accuracy=0.5)

    few_kept, many_kept = (
        kept_features(store, evaluate_checkpoint(store, model, digits, each, SAMPLER)) for each in (few, many)
    )

    assert np.allclose(few_kept["features"], many_kept["features"][:100], atol=1e-4)
    assert np.bincount(many_kept["labels"]).tolist() == [13] * 10


def kept_features(store, rows):
    return unpack(store.read_bytes(f"artifacts/run/features/{rows[0]['evaluation_id']}.npz"))


def test_seeds_of_images_do_not_meet():
    seeds = {image_seed(seed, index) for seed in range(20) for index in range(500)}

    assert len(seeds) == 20 * 500
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_progress_is_told(store, model, digits):
    told = []

    evaluate_checkpoint(
        store,
        model,
        digits,
        EvaluationConfig(samples=70, batch_size=40, minimum_accuracy=0.5),
        SAMPLER,
        on_images=lambda *seen: told.append(seen),
    )

    assert told == [(40, 70), (70, 70)]


def test_too_few_samples_are_refused_before_any_is_drawn(store, model, digits, monkeypatch):
    monkeypatch.setattr(evaluation, "generate", None)

    with pytest.raises(ValueError, match=r"evaluation\.samples=64 is too few for 64 features; 65 or more would do"):
        evaluate_checkpoint(store, model, digits, EvaluationConfig(samples=64, minimum_accuracy=0.5), SAMPLER)


def test_a_checkpoint_of_other_classes_or_sizes_is_refused(store, digits):
    with pytest.raises(ValueError, match="draws other classes than those of data set 'digits'"):
        evaluate_checkpoint(store, new_model(["cat", "dog"]), digits, CONFIG, SAMPLER)
    with pytest.raises(ValueError, match="draws 1 channels of 16 pixels a side"):
        evaluate_checkpoint(store, new_model(digits.classes, image_size=16), digits, CONFIG, SAMPLER)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extractor": "vgg"}, "evaluation.extractor='vgg' is not one of classifier, inception"),
        ({"weights": "swa"}, "evaluation.weights='swa' is not one of ema, raw, ema-<decay>, power-<width>"),
        ({"samples": 0}, "evaluation.samples=0 is below 1"),
        ({"seed": -1}, "evaluation.seed=-1 is not between"),
        ({"minimum_accuracy": 90.0}, "evaluation.minimum_accuracy=90.0 is not between 0 and 1"),
    ],
)
def test_what_cannot_work_is_refused_by_name_and_value(settings, message):
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(**settings)
