"""The shipped recipes against what the paper and its published settings say."""

import pytest

from unlatent.models import cost
from unlatent.models.network import MOST_SIZES
from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.execution import Execution
from unlatent.platform.datasets import buckets_of
from unlatent.platform.optimization import clip_norm, learning_rate
from unlatent.platform.tuning.plan import planned_configs


def test_ablations_sweeps_what_the_paper_ablates_with_three_seeds_each(tmp_path):
    execution = Execution(load_pipeline("ablations"), (f"store={tmp_path}/store",))
    steps = [step for step in execution.pipeline.steps.values() if step.sweep]
    sweeps = {step.sweep: planned_configs(str(step.sweep), execution.overrides_of(step)) for step in steps}

    assert {"core_ablation", "patch_size", "patch_size_gflops", "patch_compaction"} == sweeps.keys()
    assert all({config.train.seed for config in configs} == {0, 1, 2} for configs in sweeps.values())
    assert len({config.model.patch_size for config in sweeps["patch_compaction"]}) == 3
    plain = sweeps["core_ablation"][0].model
    assert (plain.pixel_depth, plain.norm, plain.position) == (0, "layer", "sincos")


@pytest.fixture
def recipe(tmp_path):
    def config_of(name: str):
        return Execution(load_pipeline(name), (f"store={tmp_path}/store",)).configs["train"]

    return config_of


def test_imagenet256_is_the_papers_class_conditional_recipe(recipe):
    config = recipe("imagenet256")
    train, model = config.train, config.model

    assert (model.image_size, model.patch_size, model.window, model.classes) == (256, 16, 16, 1000)
    assert (model.width, model.heads, model.patch_depth, model.pixel_width, model.pixel_depth) == (1152, 16, 26, 16, 4)
    assert round(cost.parameters(model) / 1e6, 1) == 797.4
    assert (train.batch_size, train.total_images // train.batch_size) == (256, 1_600_000)
    assert (train.beta2, train.weight_decay, train.warmup_images, train.schedule) == (0.999, 0.0, 0, "constant")
    assert (train.ema_decays, train.label_drop, train.precision) == ([0.9999], 0.1, "bf16")
    assert (train.time_mean, train.time_std, train.shift) == (0.0, 1.0, 1.0)
    assert (train.alignment.weight, train.alignment.block, train.alignment.teacher_patch) == (0.5, 8, 16)
    assert train.alignment.teacher == "facebook/dinov2-base" and model.prediction == "velocity"
    assert not train.flip and config.data.held_out == 0


def test_the_rate_and_the_clipping_change_after_epoch_160_of_320(recipe):
    train = recipe("imagenet256").train
    epoch = train.total_images // 320

    assert learning_rate(train, 160 * epoch - 256) == 1e-4 and clip_norm(train, 160 * epoch - 256) == 1.0
    assert learning_rate(train, 160 * epoch) == 1e-5 and clip_norm(train, 160 * epoch) == 0.5
    assert learning_rate(train, train.total_images - 256) == 1e-5


def test_imagenet512_goes_on_where_imagenet256_ends(recipe):
    first, second = recipe("imagenet256"), recipe("imagenet512")

    assert second.train.start == f"checkpoints/{first.train.run}/{first.train.total_images:012d}"
    assert (second.model.image_size, second.model.patch_size) == (512, 16)
    assert (second.train.shift, second.train.clip_norm, second.train.learning_rate) == (3.0, 0.5, 1e-4)
    assert second.train.total_images == 40 * first.train.total_images // 320 and second.train.batch_size == 256


def test_images_are_drawn_for_measuring_as_published(recipe):
    first, second = recipe("imagenet256"), recipe("imagenet512")

    for config, published in ((first, (2.75, 0.1, 0.9, 1.0, 1600)), (second, (3.5, 0.1, 1.0, 2.0, 10_000))):
        sampler = config.sampler
        said = (sampler.guidance, sampler.guidance_low, sampler.guidance_high, sampler.shift, config.evaluation.seed)
        assert said == published and (sampler.name, sampler.steps) == ("ab2", 100)
        assert (config.evaluation.samples, config.evaluation.extractor) == (50_000, "inception")


def test_text_to_image_is_the_papers_recipe_in_its_two_stages(recipe):
    first, second = recipe("text_to_image512"), recipe("text_to_image1024")

    for config in (first, second):
        model, train = config.model, config.train
        assert (model.width, model.heads, model.patch_depth, model.pixel_depth) == (1536, 24, 14, 2)
        assert (model.attention_width, model.attention_heads, model.time_scale) == (1152, 16, 1000.0)
        assert (model.text.encoder, model.text.width, model.text.tokens) == ("google/gemma-2-2b-it", 2304, 300)
        assert (train.schedule, train.warmup_images, train.label_drop) == ("constant", 2000 * train.batch_size, 0.1)
        assert (train.time_mean, train.time_std, train.weight_decay, train.precision) == (0.0, 1.0, 0.0, "bf16")
        assert config.cluster.workers * {512: 8, 1024: 3}[model.image_size] == train.batch_size
    stages = [(c.train.total_images // c.train.batch_size, c.train.batch_size) for c in (first, second)]
    assert stages == [(400_000, 1024), (100_000, 768)]
    assert [c.train.learning_rate for c in (first, second)] == [1e-4, 2e-5]
    assert [c.train.shift for c in (first, second)] == [c.sampler.shift for c in (first, second)] == [3.0, 4.0]
    assert [c.train.clip_norm for c in (first, second)] == [0.2, 0.1]
    assert first.train.alignment.active and not second.train.alignment.active
    assert (first.train.alignment.weight, first.train.alignment.block, first.train.alignment.hidden_width) == (
        0.5,
        6,
        2048,
    )
    assert second.train.start == f"checkpoints/{first.train.run}/{first.train.total_images:012d}"


def test_texts_are_drawn_as_published(recipe):
    for name in ("text_to_image512", "text_to_image1024"):
        sampler = recipe(name).sampler

        said = (sampler.name, sampler.steps, sampler.guidance, sampler.guidance_low, sampler.guidance_high)
        assert said == ("dpmpp_2m", 25, 4.5, 0.0, 1.0)
        assert sampler.network_evaluations() == 2 * 25


def test_the_second_stage_trains_on_no_more_sizes_than_a_compiled_network_has_graphs_for(recipe):
    sides = buckets_of(recipe("text_to_image1024").data)

    assert {(1024, 1024), (512, 2048), (2048, 512)} <= set(sides) and len(sides) < MOST_SIZES
    assert not buckets_of(recipe("text_to_image512").data)
