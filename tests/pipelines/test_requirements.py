"""What would end a pipeline at its last step is told before its first."""

import sys

import pytest

from unlatent.pipelines import runner
from unlatent.pipelines.__main__ import run_command
from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.runner import run_pipeline
from unlatent.platform.store import Store

WITH_PICTURES = """
steps:
  scenes: {run: draw_scenes, overrides: [data=scenes]}
  autoencoder: {run: train_autoencoder, needs: [scenes], overrides: [data=imagefolder, data.root=., data.image_size=12]}
"""
FROM_A_SWEEP = """
overrides: [data=scenes, model=text_tiny]
steps:
  scenes: {run: draw_scenes}
  sweep: {run: sweep, sweep: SWEEP, overrides: [model.text.tokens=8]}
  pixels: {run: train, needs: [scenes, sweep], overrides: [model.text.tokens=8]}
  edits: {run: compare_edits, needs: [scenes, pixels]}
"""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """`unlatent plan` or `run` in this process: its exit status, and what it says is wrong."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unlatent", *arguments, f"store={tmp_path}/store"])
        return run_command(), capsys.readouterr().err

    return run


@pytest.fixture
def nothing_runs(monkeypatch):
    def never(*given):
        raise AssertionError("nothing should have been opened, drawn or run")

    monkeypatch.setattr(runner, "open_all", never)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("edits.n_max=[30]", "step edits: n_min=0, n_max=30 and steps=24 are out of order"),
        ("data.scenes.pairs=0", "step edits: data.scenes.pairs=0 leaves nothing to edit; 1 or more would do"),
        ("model.text.tokens=8", "step edits: model.text.tokens=8 of pixels is below 18, the tokens of a scene"),
        ("model.patch_size=16", "step latents: of latents of 8x8, patch_size=16 does not divide image_size=8"),
        ("train.alignment.teacher=none", "step latents: train.alignment.teacher looks at pixels"),
    ],
)
def test_settings_that_a_later_step_would_fail_by_are_one_line_before_anything_runs(
    command, nothing_runs, tmp_path, setting, named
):
    for name in ("plan", "run"):
        status, error = command(name, "editing", setting)

        assert status == 2 and named in error.replace("\n", " ") and error.count("error:") == 1
    assert not (tmp_path / "store").exists()


def test_rates_are_not_measured_of_what_would_fail(command, tmp_path):
    status, error = command("plan", "editing", "edits.n_max=[30]", "--measure")

    assert status == 2 and "out of order" in error


@pytest.mark.parametrize(
    ("module", "named"),
    [
        ("diffusers", r"step autoencoder: autoencoders need the package diffusers; pip install 'unlatent\[autoenc"),
        ("skimage.metrics", r"step edits: SSIM needs the package scikit-image; pip install 'unlatent\[autoencoders\]'"),
    ],
)
def test_a_missing_package_is_told_before_anything_runs(nothing_runs, tmp_path, monkeypatch, module, named):
    monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed

    with pytest.raises(ValueError, match=named):
        run_pipeline(load_pipeline("editing"), [f"store={tmp_path}/store"])


def test_images_that_do_not_fit_an_autoencoder_are_told_before_scenes_are_drawn(command, nothing_runs, tmp_path):
    (tmp_path / "mine.yaml").write_text(WITH_PICTURES)

    status, error = command("run", str(tmp_path / "mine.yaml"))

    assert status == 2 and "step autoencoder: images of 12x12 pixels do not fit" in error.replace("\n", " ")


def test_of_a_network_that_a_sweep_decides_nothing_is_said(command, tmp_path):
    (tmp_path / "tokens.yaml").write_text(
        "question: how many\nknobs: {model.text.tokens: [8, 40]}\nmetric: fid\noverrides: [train.total_images=1024]\n"
    )
    (tmp_path / "mine.yaml").write_text(FROM_A_SWEEP.replace("SWEEP", str(tmp_path / "tokens.yaml")))

    assert command("plan", str(tmp_path / "mine.yaml"))[0] == 0


@pytest.mark.parametrize("name", ["editing", "editing_gpu"])
def test_what_is_shipped_can_work(command, tmp_path, name):
    assert command("plan", name) == (0, "")
    assert not Store(tmp_path / "store").exists("")
