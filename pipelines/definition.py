"""A pipeline as written: steps by name, what each needs, and its share of the config."""

from dataclasses import dataclass, fields
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from unlatent.pipelines.steps import ACTIONS
from unlatent.platform.config import find_definition


@dataclass(frozen=True, kw_only=True)
class Step:
    name: str
    run: str  # a key of `steps.ACTIONS`
    needs: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()  # of the config, for this step
    sweep: str | None = None  # definition, for a step that runs one
    retries: int = 0


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    name: str
    about: str
    overrides: tuple[str, ...]  # of the config, for every step
    steps: dict[str, Step]
    afterwards: tuple[tuple[str, str], ...] = ()  # commands worth trying next, each with what it does

    def order(self) -> list[str]:
        """The steps, each after all that it needs."""
        return list(TopologicalSorter({step.name: step.needs for step in self.steps.values()}).static_order())

    def dependents(self, name: str) -> list[Step]:
        return [step for step in self.steps.values() if name in step.needs]


def load_pipeline(name: str) -> Pipeline:
    """A shipped pipeline by its name, or one by the path of its YAML file.

    Raises ValueError, one line, for a step that cannot be run or ordered.
    """
    path = find_definition(name, "pipelines")
    try:
        written = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    require(path, "", written, dict)
    refuse_unknown(path, "", written, {"about", "overrides", "steps", "afterwards"})
    for key, kind in (("about", str), ("overrides", list), ("steps", dict), ("afterwards", list)):
        require(path, key, written.get(key), kind)
    steps = {each: read_step(path, each, content) for each, content in (written.get("steps") or {}).items()}
    if not steps:
        raise ValueError(f"{path} has no steps")
    for step in steps.values():
        for need in step.needs:
            if need not in steps:
                raise ValueError(f"{path}: steps.{step.name}.needs: no step is called {need!r}")
    pipeline = Pipeline(
        name=path.stem,
        about=" ".join(written.get("about", "").split()),
        overrides=tuple(written.get("overrides", ())),
        steps=steps,
        afterwards=tuple((command, does) for command, does in written.get("afterwards", ())),
    )
    try:
        pipeline.order()
    except CycleError as error:
        raise ValueError(f"{path}: these steps need each other: {' → '.join(error.args[1])}") from None
    return pipeline


def read_step(path: Path, name: str, content: Any) -> Step:
    require(path, f"steps.{name}", content, dict)
    refuse_unknown(path, f"steps.{name}.", content, {item.name for item in fields(Step)} - {"name"})
    kinds: tuple[tuple[str, type], ...] = (("needs", list), ("overrides", list), ("sweep", str), ("retries", int))
    for key, kind in (("run", str), *kinds):
        require(path, f"steps.{name}.{key}", content.get(key), kind)
    if content.get("retries", 0) < 0:
        raise ValueError(f"{path}: steps.{name}.retries={content['retries']} is below 0")
    if content.get("run") not in ACTIONS:
        raise ValueError(f"{path}: steps.{name}.run={content.get('run')!r} is not one of {', '.join(ACTIONS)}")
    if (content["run"] == "sweep") != ("sweep" in content):
        raise ValueError(
            f"{path}: steps.{name}.sweep is {'missing' if content['run'] == 'sweep' else 'for sweeps only'}"
        )
    lists = {key: tuple(content.get(key, ())) for key in ("needs", "overrides")}
    return Step(name=name, **{**content, **lists})


def require(path: Path, key: str, value: Any, kind: type) -> None:
    """Raises ValueError for a value that is there and of another kind."""
    words = {dict: "a mapping", list: "a list", str: "a text", int: "a whole number"}
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{path}: {key or 'the file'} is {value!r}, and should be {words[kind]}")


def refuse_unknown(path: Path, prefix: str, content: dict[str, Any], known: set[str]) -> None:
    for key in content.keys() - known:
        raise ValueError(f"{path}: {prefix}{key} is not one of {', '.join(sorted(known))}")
