"""GenEval's layout, and what its scorer writes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.suite_files import PROMPTS, RESULTS, SCORES, plan_of
from unlatent.platform.prompt_suites import geneval

LINES = RESULTS["geneval"].read_text().splitlines()


def test_every_line_is_a_prompt_under_its_number():
    prompts = geneval.read_prompts(PROMPTS["geneval"])

    assert [prompt.name for prompt in prompts] == [f"0000{number}" for number in range(7)]
    assert prompts[3].text == "a photo of a red vase" and prompts[3].metadata["tag"] == "colors"


def test_a_prompt_s_folder_is_what_the_scorer_reads(store):
    prompt = geneval.read_prompts(PROMPTS["geneval"])[2]
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)

    geneval.write(store, prompt, images)

    assert sorted(file.path for file in store.walk()) == sorted(geneval.paths_of("00002"))
    assert geneval.paths_of("00002")[2:4] == ["00002/samples/0000.png", "00002/samples/0001.png"]
    assert store.read_bytes("00002/metadata.jsonl").decode() == PROMPTS["geneval"].read_text().splitlines()[2]
    pixels = np.array(Image.open(store.local("00002/samples/0003.png")))
    assert (pixels == images[3].permute(1, 2, 0).numpy()).all()
    assert Image.open(store.local("00002/grid.png")).size == (17, 17)


def test_scores_are_those_of_the_suite_s_own_summary():
    scores = geneval.read_scores(RESULTS["geneval"], plan_of("geneval"))

    assert next(iter(scores.values)) == "geneval"
    assert scores.values == pytest.approx(SCORES["geneval"], abs=1e-5)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a photo of a kite", "is no JSON that tells of a prompt"),
        ('["a photo of a kite"]', "is no JSON that tells of a prompt"),
        ('{"tag": "colors", "include": [{}]}', "has no 'prompt' that"),
        ('{"prompt": "a kite", "tag": 3, "include": [{}]}', "has no 'tag' that"),
        ('{"prompt": "a kite", "tag": "colors", "include": []}', "has no 'include' that"),
    ],
)
def test_prompts_that_the_scorer_could_not_read_are_refused_by_their_line(tmp_path, line, said):
    path = tmp_path / "prompts.jsonl"
    path.write_text(f"{PROMPTS['geneval'].read_text()}{line}\n")

    with pytest.raises(ValueError, match=rf"prompts.jsonl, line 8, {said}.*evaluation_metadata.jsonl of github"):
        geneval.read_prompts(path)


def changed(line: str, **values) -> str:
    return json.dumps(json.loads(line) | values)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (LINES[:-1], "judges 27 of 28 images, and not 0000"),
        ([*LINES, LINES[0]], r"judges 00000/samples/0003.png 2 times"),
        (
            [*LINES, changed(LINES[0], filename="x/00000/samples/0004.png")],
            "judges 00000/samples/0004.png, which is none",
        ),
        ([LINES[0], "", *LINES[1:]], "line 2, tells of no image that was judged"),
        ([changed(LINES[0], correct=None), *LINES[1:]], "line 1, tells of no image that was judged"),
        ([changed(LINES[0], filename="grid.png"), *LINES[1:]], "line 1, tells of no image that was judged"),
        ([changed(LINES[0], metadata="{}"), *LINES[1:]], "line 1, tells of no image that was judged"),
        ([json.dumps(LINES[0]), *LINES[1:]], "line 1, tells of no image that was judged"),
        ([line.replace("kite", "cup") for line in LINES], "judges by other prompts"),
    ],
)
def test_results_that_are_not_of_all_these_images_are_refused(tmp_path, lines, said):
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(lines))

    with pytest.raises(ValueError, match=said):
        geneval.read_scores(path, plan_of("geneval"))


def test_results_of_another_system_name_their_files_with_backslashes(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(
        "\n".join(changed(line, filename=json.loads(line)["filename"].replace("/", "\\")) for line in LINES)
    )

    assert geneval.read_scores(path, plan_of("geneval")).values["geneval_counting"] == 0.125


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_says_what_would_do(tmp_path, content):
    path = tmp_path / "results.jsonl"
    if content:
        path.write_bytes(content)

    with pytest.raises(ValueError, match=r"results.jsonl .*evaluate_images.py writes to its --outfile would do"):
        geneval.read_scores(path, plan_of("geneval"))
