"""The package as others get it: built from what is tracked, installed, and run far from the checkout."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PARTS = ("models", "platform", "pipelines", "sweeps")

IMPORT_EVERYTHING = """
import importlib, platform, sys

assert platform.system()  # Python's own
for name in sys.argv[1:]:
    print(importlib.import_module(name).__file__)
"""

TRAIN = """
from unlatent.platform.config import compose_config
from unlatent.platform.datasets import open_dataset
from unlatent.platform.runs import plan_run
from unlatent.platform.store import Store
from unlatent.platform.tables import row
from unlatent.platform.training import Worker, train

config = compose_config(["model=tiny", "train.total_images=64", "train.grid_samples=2", "sampler.steps=2"])
store = Store(config.store)
run = plan_run(config, open_dataset(config.data, store))
train(run, store, Worker())
print(row(store, "runs", run.run_id)["status"])
"""


def tracked_files() -> list[str]:
    asked = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True)
    if asked.returncode:
        pytest.skip("which files are tracked is known in a git checkout only")
    return [name for name in asked.stdout.split("\0") if name and os.path.lexists(ROOT / name)]


def build(source: Path, out: Path, *options: str) -> Path:
    """Builds in the environment at hand. Returns the wheel."""
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = out.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, int]:
    """Checksums of the files in a wheel, but those that describe it."""
    with zipfile.ZipFile(wheel) as archive:
        assert len(archive.namelist()) == len(set(archive.namelist()))
        return {file.filename: file.CRC for file in archive.infolist() if ".dist-info/" not in file.filename}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is tracked, so that nothing else can fill a gap; links stay links."""
    copy = tmp_path_factory.mktemp("source")
    for name in tracked_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    return copy


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    return build(source, tmp_path_factory.mktemp("wheel"), "--wheel")


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A virtual environment with the wheel, which takes all else from the environment at hand."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = str(folder / "bin" / "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if path.endswith("-packages")]  # their own .pth files are not read
    (packages / "shared.pth").write_text("\n".join(shared))
    return folder


@pytest.fixture
def run(environment, tmp_path):
    """Runs a program of the environment in an empty folder."""

    def run_it(program: str, *arguments: str) -> str:
        surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(environment / "bin" / program), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_it


def test_every_tracked_file_of_the_four_parts_is_in_the_wheel_once_and_nothing_else(wheel):
    parts = [f"unlatent/{name}" for name in tracked_files() if name.partition("/")[0] in PARTS]

    assert sorted(contents(wheel)) == sorted(["unlatent/__init__.py", *parts])


def test_a_source_distribution_builds_the_same_wheel(source, wheel, tmp_path):
    through_sdist = build(source, tmp_path)  # without options: an sdist, then the wheel from it

    assert contents(through_sdist) == contents(wheel)


def test_every_module_is_imported_from_the_wheel(run, environment):
    files = [Path(name) for name in tracked_files() if name.endswith(".py") and name.partition("/")[0] in PARTS]
    names = [".".join(("unlatent", *file.with_suffix("").parts)).removesuffix(".__init__") for file in files]

    imported = run("python", "-c", IMPORT_EVERYTHING, *names).splitlines()

    assert len(imported) == len(names)
    assert all(Path(file).is_relative_to(environment) for file in imported)


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("--help", "Diffusion transformers on raw pixels"),
        ("config run quickstart", "patch_size:"),
        ("config sweep digits", "knobs:"),
        ("plan quickstart", "deploy"),
    ],
)
def test_the_command_finds_what_comes_with_it_and_writes_nothing(run, tmp_path, command, printed):
    assert printed in run("unlatent", *command.split())
    assert list(tmp_path.iterdir()) == []


def test_what_an_installed_package_sends_to_a_cluster_holds_the_same_files(run, wheel, tmp_path):
    sent = tmp_path / run("unlatent", "wheel").strip()

    assert contents(sent) == contents(wheel)


def test_the_installed_package_trains(run, tmp_path):
    assert run("python", "-c", TRAIN).splitlines()[-1] == "succeeded"
    assert len(list(tmp_path.glob("store/checkpoints/*/*/ema.safetensors"))) == 1
