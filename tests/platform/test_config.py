import pytest

from unlatent.platform.config import Config, compose_config, from_yaml, keys, load_sweep, to_yaml


def test_overrides_reach_the_dataclasses():
    config = compose_config(["train.batch_size=32", "model.compaction.window=2"])

    assert isinstance(config, Config)
    assert config.train.batch_size == 32 and config.model.window == 2


def test_the_model_takes_its_size_from_the_data(tmp_path):
    config = compose_config(["model=b", "data=imagefolder", f"data.root={tmp_path}", "data.image_size=256"])

    assert (config.model.image_size, config.model.width) == (256, 768)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model.patchsize=4", "did you mean model.patch_size?"),
        ("train.batch_sise=4", "did you mean train.batch_size?"),
        ("+train.extra=1", r"\+train.extra is not a key"),
        ("train.batch_size=many", "train.batch_size: Value 'many'"),
        ("model=huge", "model=huge is not one of tiny, text_tiny, b, l, xl, text"),
        ("train.batch_size", "write it as key=value"),
        ("model.patch_size=3", "patch_size=3 does not divide image_size=8; 1, 2, 4 or 8 would"),
        ("model.heads=5", "heads=5"),
        ("model.compaction.window=3", "window=3 does not divide patch_size=4"),
        ("train.schedule=linear", "train.schedule='linear' is not one of constant, cosine"),
        ("train.total_images=0", "train.total_images=0 is below 1"),
        ("train.accumulate=5", "train.accumulate=5 does not divide a worker's share of a batch, 32 images"),
        ("train.spikes.action=wait", "train.spikes.action='wait'"),
        ("cluster.workers=3", "train.batch_size=32 cannot be shared by cluster.workers=3"),
        ("model.image_size=16", "set data.image_size"),
        ("sampler.name=ddim", "ab2"),
        ("data.broken=ignore", "data.broken='ignore' is not one of refuse, skip"),
    ],
)
def test_a_config_that_cannot_work_is_refused_in_one_line(override, named):
    with pytest.raises(ValueError, match=named) as refusal:
        compose_config([override])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["cluster.workers=4", "cluster.min_workers=2"], "train.batch_size=32 cannot be shared by 3 workers, to which"),
        (["cluster.workers=2", "cluster.min_workers=3"], "cluster.min_workers=3 is not in 1 … cluster.workers=2"),
        (
            ["cluster.workers=2", "cluster.min_workers=1", "train.accumulate=32"],
            "train.accumulate=32 does not divide a worker's share of a batch, 16 images with cluster.workers=2",
        ),
    ],
)
def test_every_number_of_workers_that_a_run_may_come_to_has_to_share_a_batch(overrides, named):
    with pytest.raises(ValueError, match=named):
        compose_config(overrides)

    compose_config(["cluster.workers=4", "cluster.min_workers=2", "train.batch_size=24"])


def test_a_config_survives_being_written_down():
    config = compose_config(["train.learning_rate=3e-4", "model.compaction.attention=false"])

    assert from_yaml(to_yaml(config)) == config


def test_a_token_is_not_written_down():
    config = compose_config(["serve.token=secret"])

    assert "secret" not in to_yaml(config)


def test_every_key_can_be_named_in_an_override():
    assert {"store", "model.compaction.window", "evaluation.samples", "serve.port"} <= set(keys())


def test_a_sweep_takes_its_own_overrides():
    assert load_sweep("digits", ["sweep.samples=3", "train.seed=5"]).samples == 3


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("knobs: {model.patchsize: [1]}", "did you mean model.patch_size?"),
        ("knobs: {}", r"sweep.knobs is empty"),
        ("nobs: {}", "nobs"),
        ("knobs: {model.patch_size: []}", "has no values"),
        ("knobs: {model.patch_size: [2]}\nscheduler: hyperband", "not one of fixed, asha"),
        ("knobs: [", "while parsing a flow node"),
    ],
)
def test_a_bad_definition_is_refused_in_one_line(tmp_path, content, named):
    path = tmp_path / "mine.yaml"
    path.write_text(content)

    with pytest.raises(ValueError, match=named) as refusal:
        load_sweep(str(path), [])
    assert "\n" not in str(refusal.value)


def test_a_missing_definition_names_those_there_are():
    with pytest.raises(ValueError, match=r"'nothing' is neither a definition in sweeps/ .*digits"):
        load_sweep("nothing", [])
