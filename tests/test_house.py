"""What the layout of the project promises."""

import ast
import functools
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("models", "platform", "pipelines", "sweeps")
MAY_IMPORT = {
    "models": {"models"},
    "sweeps": set(),
    "platform": {"models", "platform"},
    "pipelines": {"models", "platform", "pipelines"},
}


def sources(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which part they reach"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("part", PARTS)
def test_imports_run_one_way(part):
    for path in sources(part):
        reached = {name.split(".")[1] for name in imported_modules(path) if name.startswith("unlatent.")}
        assert reached <= MAY_IMPORT[part], f"{path.relative_to(ROOT)} imports {reached - MAY_IMPORT[part]}"


def test_models_import_torch_and_the_standard_library_only():
    for path in sources("models"):
        outside = {name.split(".")[0] for name in imported_modules(path)} - {"torch", "unlatent"}
        assert outside <= sys.stdlib_module_names, path.name


def test_only_the_config_knows_hydra():
    for part in PARTS:
        for path in sources(part):
            knows = any(name.split(".")[0] in {"hydra", "omegaconf"} for name in imported_modules(path))
            assert not knows or path == ROOT / "platform" / "config.py", path


def test_platform_is_no_regular_package():
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_no_file_is_called_like_a_standard_module():
    for part in PARTS:
        for path in (ROOT / part).glob("*.py"):
            if path.stem not in {"__init__", "__main__"}:
                assert path.stem not in sys.stdlib_module_names, (
                    f"{path} hides Python's own {path.stem} when run by path"
                )


@pytest.mark.parametrize("module", ["platform", "select"])
def test_the_standard_librarys_modules_are_reachable_from_the_root(module):
    code = f"import {module}; print({module}.__file__)"

    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert not found.stdout.startswith(str(ROOT / "platform"))


def test_the_standard_librarys_platform_is_what_pytest_has():
    import platform

    assert platform.system()


def test_links_are_relative():
    for part in PARTS:
        assert (ROOT / "unlatent" / part).readlink() == Path("..") / part


def test_import_models_brings_torch_alone():
    code = "import sys, unlatent.models; print([m for m in ('ray', 'hydra', 'pyarrow', 'pandas') if m in sys.modules])"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def config_fields() -> list[tuple[str, str]]:
    from unlatent.platform.config import Config, SweepConfig

    found = []

    def walk(kind: type) -> None:
        for item in fields(kind):
            found.append((kind.__name__, item.name))
            default = item.default_factory() if callable(item.default_factory) else item.default
            if is_dataclass(default):
                walk(type(default))

    walk(Config)
    walk(SweepConfig)
    return found


@functools.cache
def reads() -> dict[str, set[str | None]]:
    """Which classes an attribute of that name is read in, each at the top of its file; None: outside of any."""
    found: dict[str, set[str | None]] = {}
    for path in [path for part in PARTS for path in sources(part)]:
        for statement in ast.parse(path.read_text()).body:
            within = statement.name if isinstance(statement, ast.ClassDef) else None
            for node in ast.walk(statement):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    found.setdefault(node.attr, set()).add(within)
    return found


@pytest.mark.parametrize(("kind", "name"), config_fields())
def test_every_config_field_is_read_somewhere(kind, name):
    """A read is an attribute access outside the class that defines the field."""
    assert reads().get(name, set()) - {kind}


def test_shipped_definitions_are_read_without_complaint():
    from unlatent.pipelines.definition import load_pipeline
    from unlatent.platform.config import load_sweep, shipped

    assert {load_sweep(name, []).name for name in shipped("sweeps")} == set(shipped("sweeps"))
    assert {load_pipeline(name).name for name in shipped("pipelines")} == set(shipped("pipelines"))


@pytest.mark.parametrize("path", [path for part in PARTS for path in sources(part)], ids=str)
def test_modules_say_what_they_are_for(path):
    if path.stat().st_size:
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_versions_are_pinned_once():
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.M))

    assert pinned["torch"] == "2.13.0"
    assert pinned["torchvision"] == "0.28.0"
    assert pinned["ray"] == "2.60.0"
