"""The package as a wheel, written from the files that run."""

import subprocess
import sys
import zipfile
from email.parser import Parser

import pytest
from packaging.utils import parse_wheel_filename

from unlatent.platform import provenance, shipping

PRINT_CODE = (
    "from unlatent.platform import provenance, shipping; print(provenance.code_version(), shipping.requirements())"
)


@pytest.fixture
def wheel(tmp_path):
    return shipping.write_wheel(tmp_path)


def test_a_wheels_name_holds_the_hash_of_its_code(wheel):
    name, version, _, tags = parse_wheel_filename(wheel.name)

    assert (name, version.local) == ("unlatent", provenance.code_version())
    assert [str(tag) for tag in tags] == ["py3-none-any"]


def test_the_same_code_is_the_same_file(wheel, tmp_path):
    assert shipping.write_wheel(tmp_path / "again").read_bytes() == wheel.read_bytes()


def test_definitions_and_pages_are_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert {"unlatent/__init__.py", "unlatent/sweeps/digits.yaml", "unlatent/platform/conf/config.yaml"} <= set(names)
    assert {"unlatent/platform/serving/page/index.html", "unlatent/models/network.py"} <= set(names)
    assert len(names) == len(set(names))


def test_what_the_package_needs_is_named_in_the_wheel_but_not_installed_with_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        needed = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist")

    assert "torch==2.13.0" in shipping.requirements()
    assert needed == [f'{each}; extra == "node"' for each in shipping.requirements()]


@pytest.mark.slow
def test_pip_installs_the_wheel_without_an_index_and_the_copy_is_the_same_code_with_the_same_needs(wheel, tmp_path):
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", f"--target={target}", str(wheel)]
    subprocess.run(install, check=True)

    command = [sys.executable, "-c", PRINT_CODE]
    printed = subprocess.run(command, cwd=target, env={"PYTHONPATH": str(target)}, capture_output=True, text=True)

    assert printed.stdout.strip() == f"{provenance.code_version()} {shipping.requirements()}", printed.stderr
