import pytest

from unlatent.pipelines.definition import load_pipeline


@pytest.fixture
def write(tmp_path):
    def write_definition(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write_definition


def test_steps_come_after_what_they_need(write):
    pipeline = load_pipeline(
        write("steps: {c: {run: report, needs: [b]}, b: {run: train, needs: [a]}, a: {run: prepare_data}}")
    )

    assert pipeline.order() == ["a", "b", "c"]
    assert [step.name for step in pipeline.dependents("a")] == ["b"]


def test_the_quickstart_goes_the_whole_way():
    assert load_pipeline("quickstart").order()[:3] == ["data", "sweep", "train"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("steps: {a: {run: dance}}", r"steps.a.run='dance' is not one of prepare_data, sweep"),
        ("steps: {a: {run: train, needs: [b]}}", r"steps.a.needs: no step is called 'b'"),
        ("steps: {a: {run: train, needs: [b]}, b: {run: train, needs: [a]}}", "these steps need each other: "),
        ("steps: {a: {run: train, retry: 3}}", r"steps.a.retry is not one of needs, overrides, retries"),
        ("stages: {}", r"stages is not one of about, afterwards, overrides, steps"),
        ("steps: {}", "has no steps"),
        ("steps: {a: {run: sweep}}", r"steps.a.sweep is missing"),
        ("steps: [", "while parsing"),
        ("steps: {a: train}", r"steps.a is 'train', and should be a mapping"),
        ("steps: [a]", r"steps is \['a'\], and should be a mapping"),
        ("[1, 2]", r"the file is \[1, 2\], and should be a mapping"),
        ("steps: {a: {run: train, retries: many}}", r"steps.a.retries is 'many', and should be a whole number"),
        ("steps: {a: {run: train, retries: -1}}", r"steps.a.retries=-1 is below 0"),
        ("steps: {a: {run: train, needs: b}}", r"steps.a.needs is 'b', and should be a list"),
    ],
)
def test_a_definition_that_cannot_work_is_refused_in_one_line(write, text, named):
    with pytest.raises(ValueError, match=named) as refusal:
        load_pipeline(write(text))
    assert "\n" not in str(refusal.value)
