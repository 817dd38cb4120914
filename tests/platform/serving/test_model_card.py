from datetime import UTC, datetime

import pytest

from unlatent.platform import tables
from unlatent.platform.schemas import TABLES
from unlatent.platform.serving.model_card import model_card
from unlatent.platform.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def measure(store: Store, **columns: object) -> None:
    blank = dict.fromkeys(set(TABLES["evaluations"].schema.names) - {"schema_version"})
    measured = {"checkpoint_hash": "0123456789abcdef", "weights": "ema", "evaluated_at": datetime.now(UTC)}
    tables.append(store, "evaluations", [{**blank, **measured, **columns}])


def test_the_deployed_model_is_listed_with_what_it_is(client, card):
    [model] = client.get("/v1/models").json()["data"]

    assert (model["id"], model["object"], model["run_id"]) == ("digits-01234567", "model", "digits")
    assert model["classes"] == card.classes and model["size"] == "8x8"
    assert model["network"]["patch_size"] == model["network"]["window"] == 4
    assert model["parameters"] == sum(p.numel() for p in client.generator.served.model.network.parameters())
    assert model["sampler"]["steps"] == 4 and model["edit"]["n_max"] == 33


def test_a_model_can_be_fetched_by_its_id(client, card):
    assert client.get(f"/v1/models/{card.id}").json() == client.get("/v1/models").json()["data"][0]


def test_a_card_has_what_was_measured_of_these_very_weights(store, model):
    measure(store, metric="fid", value=12.5, steps=20, feature_extractor="classifier:abc")
    measure(store, metric="fid", value=1.0, weights="raw")
    measure(store, metric="fid", value=2.0, checkpoint_hash="another")

    [metric] = model_card(model, store).metrics

    assert (metric["metric"], metric["value"], metric["steps"]) == ("fid", 12.5, 20)
    assert metric["feature_extractor"] == "classifier:abc"
    assert metric["guidance"] is None


def test_metrics_come_oldest_first(store, model):
    for day in (3, 1, 2):
        measure(store, metric="fid", value=day, evaluated_at=datetime(2026, 1, day, tzinfo=UTC))

    assert [metric["value"] for metric in model_card(model, store).metrics] == [1, 2, 3]
