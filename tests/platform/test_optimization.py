import pytest

from unlatent.platform.optimization import TrainConfig, clip_norm, learning_rate


def test_the_rate_warms_up_then_follows_the_cosine():
    config = TrainConfig(total_images=1000, batch_size=10, learning_rate=1.0, schedule="cosine", warmup_images=100)

    rates = [learning_rate(config, seen) for seen in (0, 90, 500, 1000)]

    assert rates == pytest.approx([0.1, 0.98, 0.5, 0.0], abs=0.01)


def test_rate_and_clip_norm_drop_in_the_step_that_starts_at_a_number_of_images():
    config = TrainConfig(total_images=1000, batch_size=10, learning_rate=1e-4, drop_images=500)

    assert [learning_rate(config, seen) for seen in (0, 490, 500, 990)] == [1e-4, 1e-4, 1e-5, 1e-5]
    assert [clip_norm(config, seen) for seen in (0, 490, 500, 990)] == [1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize("settings", [{"drop_images": 0}, {"drop_images": 10, "schedule": "cosine"}])
def test_a_drop_that_cannot_be_is_refused(settings):
    with pytest.raises(ValueError, match=f"train.drop_images={settings['drop_images']} with train.schedule="):
        TrainConfig(**settings)
