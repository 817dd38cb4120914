"""That training learns, and not only runs."""

import pytest

from unlatent.platform.config import compose_config
from unlatent.platform.datasets import open_dataset
from unlatent.platform.evaluation import evaluate_checkpoint
from unlatent.platform.generation import load_model
from unlatent.platform.runs import last_checkpoint, plan_run
from unlatent.platform.training import Worker, train


@pytest.mark.slow
def test_a_trial_of_the_quickstart_draws_the_digits_asked_for(store):
    """As the sweep `digits` trains it: 16,000 images, a quarter of a minute."""
    config = compose_config(
        [f"store={store.root}", "train.total_images=16000", "train.checkpoint_images=16000", "evaluation.samples=500"]
    )
    dataset = open_dataset(config.data, store)
    run = plan_run(config, dataset)

    train(run, store, Worker())
    model = load_model(store, last_checkpoint(store, run.run_id).path)
    rows = evaluate_checkpoint(store, model, dataset, config.evaluation, config.sampler)

    values = {row["metric"]: row["value"] for row in rows}
    assert rows[0]["extractor_accuracy"] >= 0.97
    assert values["class_agreement"] >= 0.9
    assert values["fid"] < 4
