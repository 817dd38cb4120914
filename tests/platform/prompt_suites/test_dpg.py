"""DPG-Bench's layout, and what its scorer writes."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.suite_files import PROMPTS, RESULTS, SCORES, WITH_THE_ONE, WITHOUT_ONE, plan_of
from unlatent.platform.prompt_suites import dpg

TEXT = RESULTS["dpg"].read_text()


def test_every_file_is_a_prompt_under_its_name():
    prompts = dpg.read_prompts(PROMPTS["dpg"])

    assert [prompt.name for prompt in prompts] == ["circle0", "squares1", "star2"]
    assert prompts[1].text == "Two blue squares stand beside each other below a sign that says OPERA."


def test_four_images_are_one_file_that_the_scorer_cuts_at_their_sides(store):
    prompt = dpg.read_prompts(PROMPTS["dpg"])[0]
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)

    dpg.write(store, prompt, images)

    assert [file.path for file in store.walk()] == dpg.paths_of("circle0") == ["circle0.png"]
    whole = np.array(Image.open(store.local("circle0.png")))
    corners = [whole[:8, :8], whole[:8, 8:], whole[8:, :8], whole[8:, 8:]]
    assert (np.stack(corners) == images.permute(0, 2, 3, 1).numpy()).all()


def test_scores_are_those_that_the_scorer_says():
    scores = dpg.read_scores(RESULTS["dpg"], plan_of("dpg"))

    assert next(iter(scores.values)) == "dpg"
    assert scores.values == SCORES["dpg"] and scores.unjudged == []


def test_the_one_prompt_that_the_scorer_fails_at_is_left_out_and_named():
    scores = dpg.read_scores(WITHOUT_ONE, plan_of("dpg", names=WITH_THE_ONE))

    assert scores.unjudged == ["partiprompts97"]
    assert scores.values["dpg"] == pytest.approx(100 * (0.25 + 0.6875 + 2 / 3) / 3)
    assert scores.values["dpg_relation_spatial"] == 100.0


def test_a_scorer_that_does_not_fail_at_it_leaves_none_out(tmp_path):
    path = tmp_path / "results.txt"
    path.write_text(TEXT.replace("circle0", "partiprompts97"))

    scores = dpg.read_scores(path, plan_of("dpg", names=["partiprompts97", "squares1", "star2"]))

    assert scores.unjudged == [] and scores.values == SCORES["dpg"]


@pytest.mark.parametrize(
    ("names", "line", "said"),
    [
        (["another", *WITH_THE_ONE], "", "judges 3 of 4 prompts, and not another"),
        (WITH_THE_ONE, "star2", "judges 2 of 3 prompts, and not star2"),
        (["first", "circle0", "squares1", "star2"], "", "judges 3 of 4 prompts, and not first"),
        (["partiprompts97"], "png", "judges 0 of 1 prompts, and not partiprompts97"),
    ],
)
def test_any_other_prompt_that_was_not_judged_is_refused(tmp_path, names, line, said):
    path = tmp_path / "results.txt"
    path.write_text("\n".join(each for each in WITHOUT_ONE.read_text().splitlines() if not line or line not in each))

    with pytest.raises(ValueError, match=said):
        dpg.read_scores(path, plan_of("dpg", names=names))


def test_the_files_of_several_processes_are_read_as_one(tmp_path):
    first, *rest = TEXT.splitlines(keepends=True)
    path = tmp_path / "results.txt"
    path.write_text("".join(rest) + first)

    assert dpg.read_scores(path, plan_of("dpg")).values == SCORES["dpg"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("empty.txt", " \n", "empty.txt is empty"),
        ("a.b.txt", "a kite", "a name ends at its first dot"),
        ("a.md", "a kite", "is no folder with .txt files in it"),
    ],
)
def test_prompts_that_the_scorer_could_not_find_are_refused(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)

    with pytest.raises(ValueError, match=said):
        dpg.read_prompts(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("dpg/star2.png, ", "dpg/stars.png, ", "judges stars, which is none of the folder's 3 prompts"),
        ("dpg/star2.png, ", "dpg/circle0.png, ", "judges circle0 2 times"),
        (next(line for line in TEXT.splitlines() if "star2" in line), "", "judges 2 of 3 prompts, and not star2"),
        ("star2.png, 1.0, ", "star2.png, ", "judges 3 of 4 images of star2; PIC_NUM=4 would do"),
        ("DPG-Bench score: 64.5", "DPG-Bench score: 65.5", "says 65.58333333333334 of the whole, and the mean"),
        ("DPG-Bench score: ", "Model: ", "has 0 scores of the whole; the lines of one"),
        ("Model: dpg", "Model: dpg\nDPG-Bench score: 64.58333333333334", "has 2 scores of the whole; the lines of one"),
        (
            "Model: dpg",
            "dpg/star2.png, (0, 0, 16, 16), Is there a star?, yes",
            "line 4, is none that the scorer writes",
        ),
        (
            "entity - whole: 66.66666666666666",
            "entity - whole: nan",
            r"'entity - whole' is no number: .* a scoring with PYTHONHASHSEED=0 would do",
        ),
        ("other - text: 0.0", "other - text: 101", "line 17, is none that the scorer writes; the …_results.txt of"),
        ("Model: dpg", "Something else", "line 4, is none that the scorer writes"),
    ],
)
def test_results_that_are_not_of_all_these_images_are_refused(tmp_path, before, after, said):
    path = tmp_path / "results.txt"
    assert TEXT.count(before) == 1
    path.write_text(TEXT.replace(before, after))

    with pytest.raises(ValueError, match=said):
        dpg.read_scores(path, plan_of("dpg"))
