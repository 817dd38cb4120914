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
        ("steps: {a: {run: trian}}", r"steps.a.run='trian' is not one of .*; did you mean train\?"),
        ("steps: {a: {run: train, needs: [b]}}", r"steps.a.needs: no step is called 'b'"),
        ("steps: {ab: {run: train}, c: {run: train, needs: [abc]}}", r"no step is called 'abc'; did you mean ab\?"),
        ("steps: {a: {run: train, needs: [a]}}", "these steps need each other: a → a"),
        ("steps: {a: {run: train, needs: [b]}, b: {run: train, needs: [a]}}", "these steps need each other: "),
        ("steps: {a: {run: train, retry: 3}}", r"steps.a.retry is not one of .*retries.*; did you mean retries\?"),
        ("stages: {}", r"stages is not one of about, afterwards, at_once, overrides, steps; did you mean steps\?"),
        ("steps: {}", "has no steps"),
        ("steps: {a: {run: sweep}}", r"steps.a.sweep is missing"),
        ("steps: [", "while parsing"),
        ("steps: {a: train}", r"steps.a is 'train', and should be a mapping"),
        ("steps: [a]", r"steps is \['a'\], and should be a mapping"),
        ("[1, 2]", r"the file is \[1, 2\], and should be a mapping"),
        ("steps: {a: {run: train, retries: many}}", r"steps.a.retries is 'many', and should be a whole number"),
        ("steps: {a: {run: train, retries: -1}}", r"steps.a.retries=-1 is below 0"),
        ("steps: {a: {run: train, retries: true}}", r"steps.a.retries is True, and should be a whole number"),
        ("steps: {a: {run: train, backoff_s: long}}", r"steps.a.backoff_s is 'long', and should be a number"),
        ("steps: {a: {run: train, backoff_s: -0.5}}", r"steps.a.backoff_s=-0.5 is below 0"),
        ("steps: {a: {run: train, needs: b}}", r"steps.a.needs is 'b', and should be a list"),
        (
            "steps: {a: {run: train, overrides: [train.seed: 1]}}",
            r"steps.a.overrides: {'train.seed': 1} should be a text",
        ),
        ("overrides: [1]\nsteps: {a: {run: train}}", r"overrides: 1 should be a text"),
        ("at_once: 0\nsteps: {a: {run: train}}", "at_once=0 is below 1"),
        ("afterwards: [serve]\nsteps: {a: {run: train}}", "afterwards: 'serve' should be a list of a command and what"),
        ("steps: {../a: {run: train}}", r"steps.../a: a step's name is made of letters, digits, - and _"),
        ("steps: {1: {run: train}}", "steps.1: a step's name is made of letters"),
        (
            "steps: {a: {run: prepare_data}, b: {run: evaluate, needs: [a]}}",
            "steps.b.needs has no step that gives the run_id that evaluate takes; one that runs train, ",
        ),
    ],
)
def test_a_definition_that_cannot_work_is_refused_in_one_line(write, text, named):
    with pytest.raises(ValueError, match=named) as refusal:
        load_pipeline(write(text))
    assert "\n" not in str(refusal.value)
