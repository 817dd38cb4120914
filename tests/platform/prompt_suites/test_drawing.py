"""Which images are drawn into a suite's folder, and what comes of being cut off."""

import contextlib
from dataclasses import replace

import pytest

from tests.suite_files import PROMPTS
from unlatent.models.samplers import SamplerConfig
from unlatent.platform.generation import to_image, to_png
from unlatent.platform.orders import Generation, carry_out
from unlatent.platform.prompt_suites import SUITES, Drawing, draw
from unlatent.platform.prompt_suites.drawing import noise_seed
from unlatent.platform.store import Store


class CutError(Exception):
    pass


def drawing_of(suite: str, model, sampler: SamplerConfig | None = None, seed: int = 0, **more) -> Drawing:
    """Of the recorded prompts."""
    prompts = SUITES[suite].read_prompts(PROMPTS[suite])
    return Drawing(suite=suite, prompts=prompts, model=model, sampler=sampler or model.sampler, seed=seed, **more)


@pytest.fixture
def drawn(model, tmp_path):
    """Draws a suite's recorded prompts into a folder, up to a number of prompts; its files by path."""

    def draw_into(folder: str, suite: str, cut_at: int | None = None, seed: int = 0, **more):
        out = Store(tmp_path / folder)

        def on_prompts(done: int, total: int) -> None:
            if done == cut_at:
                raise CutError

        with contextlib.suppress(CutError):
            draw(drawing_of(suite, model, seed=seed, **more), out, 16, on_prompts)
        return {file.path: out.read_bytes(file.path) for file in out.walk()}

    return draw_into


@pytest.mark.parametrize("suite", SUITES)
def test_what_was_cut_off_goes_on_and_ends_as_the_undisturbed_one(drawn, tmp_path, suite):
    whole, cut = drawn("whole", suite), drawn("cut", suite, cut_at=2)
    kept = {path: (tmp_path / "cut" / path).stat().st_mtime_ns for path in cut if path.endswith(".png")}
    half_written = tmp_path / "cut" / f".00003.{'0f' * 16}"
    half_written.mkdir()
    (tmp_path / "cut" / ".mine").touch()

    resumed = drawn("cut", suite)

    assert set(cut) < set(whole) and resumed == whole
    assert all((tmp_path / "cut" / path).stat().st_mtime_ns == at for path, at in kept.items()), "left as it was"
    assert not half_written.exists() and (tmp_path / "cut" / ".mine").exists()


@pytest.mark.parametrize("suite", SUITES)
def test_an_object_store_holds_the_same_files(drawn, model, remote_store, suite):
    for _ in range(2):
        draw(drawing_of(suite, model), remote_store, 16, lambda done, total: None)

    found = {file.path: remote_store.read_bytes(file.path) for file in remote_store.walk()}
    assert found == drawn("whole", suite)


@pytest.mark.parametrize(("suite", "path"), [("geneval", "00001/samples/0002.png"), ("dpg", "star2.png")])
def test_an_image_that_is_gone_is_drawn_again(drawn, tmp_path, suite, path):
    whole = drawn("whole", suite)
    (tmp_path / "whole" / path).unlink()

    assert drawn("whole", suite) == whole


def test_images_are_those_of_generate_by_the_seed_of_prompt_and_number(drawn, model):
    files = drawn("whole", "geneval")

    seeds = [noise_seed(0, "00003", number) for number in range(4)]
    images = carry_out(
        model, [Generation(prompt="a photo of a red vase", seeds=seeds, settings=model.sampler, sides=model.sides)], 8
    )

    assert len(set(seeds)) == 4
    assert [files[f"00003/samples/000{number}.png"] for number in range(4)] == [to_png(to_image(x)) for x in images]


def test_guidance_leads_away_from_a_negative_prompt_in_every_image(drawn, model):
    plain, away = drawn("plain", "geneval"), drawn("away", "geneval", negative_prompt="a blur")

    seeds = [noise_seed(0, "00003", number) for number in range(4)]
    order = Generation(
        prompt="a photo of a red vase", avoided="a blur", seeds=seeds, settings=model.sampler, sides=model.sides
    )
    samples = [f"00003/samples/000{number}.png" for number in range(4)]
    assert [away[path] for path in samples] == [to_png(to_image(image)) for image in carry_out(model, [order], 8)]
    assert all(plain[path] != away[path] for path in plain if "samples" in path)


def test_what_was_cut_off_does_not_go_on_with_another_negative_prompt(drawn):
    whole = drawn("whole", "dpg", negative_prompt="a blur")
    drawn("cut", "dpg", cut_at=2, negative_prompt="a blur")

    for another in ("noise", None):
        said = f"cut was prepared with negative_prompt=a blur, not {another}; another folder would do"
        with pytest.raises(ValueError, match=said):
            drawn("cut", "dpg", negative_prompt=another)
    assert drawn("cut", "dpg", negative_prompt="a blur") == whole


@pytest.mark.parametrize(
    ("guidance", "avoided", "said"),
    [
        (1, "a blur", "^negative_prompt has no effect without guidance; guidance=2 would do$"),
        (2, "blur " * 25, r"^negative_prompt, 'blur blur .*: a text of 25 tokens is longer than the 24 that"),
    ],
)
def test_a_negative_prompt_that_could_not_work_is_refused(model, guidance, avoided, said):
    with pytest.raises(ValueError, match=said):
        drawing_of("dpg", model, SamplerConfig(steps=2, guidance=guidance, guidance_low=0), negative_prompt=avoided)


def test_no_image_comes_twice_and_another_seed_has_others(drawn):
    images = [drawn(f"seed {seed}", "geneval", seed=seed) for seed in (0, 1)]

    samples = [content for files in images for path, content in files.items() if "samples" in path]
    assert len(samples) == len(set(samples)) == 56


def test_a_folder_of_other_images_is_refused(drawn):
    drawn("whole", "dpg")

    with pytest.raises(ValueError, match=r"whole was prepared with seed=0, not 1; another folder would do"):
        drawn("whole", "dpg", seed=1)
    with pytest.raises(ValueError, match=r"whole was prepared with suite=dpg, not geneval"):
        drawn("whole", "geneval")


def test_a_folder_with_something_else_in_it_is_refused(drawn, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()

    with pytest.raises(ValueError, match=r"taken is not empty: it holds thesis.tex"):
        drawn("taken", "dpg")


def test_the_plan_tells_all_that_the_scores_depend_on(model):
    drawing = drawing_of("dpg", model, SamplerConfig(name="heun", steps=3, guidance=4), seed=7)
    planned = drawing.plan

    assert (planned.run_id, planned.checkpoint_hash, planned.weights) == ("drawn", "0123456789abcdef", "ema")
    assert (planned.sampler, planned.steps, planned.guidance, planned.seed) == ("heun", 3, 4.0, 7)
    assert (planned.image_size, planned.samples) == (16, 12)
    assert replace(drawing, prompts=drawing.prompts[:2]).plan.prompts_hash != planned.prompts_hash


def test_a_model_of_classes_is_refused(class_model):
    with pytest.raises(ValueError, match=r"makes images of classes, and suites have texts; .*condition=text would do"):
        drawing_of("dpg", class_model)


def test_a_prompt_that_is_too_long_is_refused_by_its_name(forgetful_model):
    with pytest.raises(
        ValueError, match=r"prompt circle0, 'A small red circle .*: a text of \d+ tokens is longer than"
    ):
        drawing_of("dpg", forgetful_model)
