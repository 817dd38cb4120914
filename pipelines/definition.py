"""A pipeline as written: steps by name, what each needs, and its share of the config."""

import difflib
import re
from collections.abc import Iterable
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
    retries: int = 0  # tries after the first, for errors that another try may not meet
    backoff_s: float = 1.0  # before the first of them; twice as long before each next one


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    name: str
    about: str
    overrides: tuple[str, ...]  # of the config, for every step
    steps: dict[str, Step]
    afterwards: tuple[tuple[str, str], ...] = ()  # commands worth trying next, each with what it does
    at_once: int | None = None  # steps at most; None: as many as this machine has CPUs

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
    written = read_file(path)
    steps = {each: read_step(path, each, content) for each, content in written["steps"].items()}
    for step in steps.values():
        check_needs(path, step, steps)
    pipeline = Pipeline(
        name=path.stem,
        about=" ".join(written.get("about", "").split()),
        overrides=tuple(written.get("overrides", ())),
        steps=steps,
        afterwards=tuple((command, does) for command, does in written.get("afterwards", ())),
        at_once=written.get("at_once"),
    )
    try:
        pipeline.order()
    except CycleError as error:
        raise ValueError(f"{path}: these steps need each other: {' → '.join(error.args[1])}") from None
    return pipeline


def read_file(path: Path) -> dict[str, Any]:
    try:
        written = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    require(path, "", written, dict)
    refuse_unknown(path, "", written, {"about", "overrides", "steps", "afterwards", "at_once"})
    kinds = (("about", str), ("overrides", list), ("steps", dict), ("afterwards", list), ("at_once", int))
    for key, kind in kinds:
        require(path, key, written.get(key), kind)
    if not written.get("steps"):
        raise ValueError(f"{path} has no steps")
    require_texts(path, "overrides", written)
    if written.get("at_once") is not None and written["at_once"] < 1:
        raise ValueError(f"{path}: at_once={written['at_once']} is below 1")
    for line in written.get("afterwards", ()):
        if not (isinstance(line, list) and len(line) == 2):
            raise ValueError(f"{path}: afterwards: {line!r} should be a list of a command and what it does")
    return written


def read_step(path: Path, name: Any, content: Any) -> Step:
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]+", name)):  # it becomes the name of files
        raise ValueError(f"{path}: steps.{name}: a step's name is made of letters, digits, - and _")
    require(path, f"steps.{name}", content, dict)
    refuse_unknown(path, f"steps.{name}.", content, {item.name for item in fields(Step)} - {"name"})
    kinds: tuple[tuple[str, Any], ...] = (("needs", list), ("overrides", list), ("sweep", str), ("retries", int))
    for key, kind in (("run", str), *kinds, ("backoff_s", (int, float))):
        require(path, f"steps.{name}.{key}", content.get(key), kind)
    for key in ("needs", "overrides"):
        require_texts(path, f"steps.{name}.{key}", content)
    for key in ("retries", "backoff_s"):
        if content.get(key, 0) < 0:
            raise ValueError(f"{path}: steps.{name}.{key}={content[key]} is below 0")
    if content.get("run") not in ACTIONS:
        known = f"is not one of {', '.join(ACTIONS)}"
        raise ValueError(f"{path}: steps.{name}.run={content.get('run')!r} {known}{meant(content.get('run'), ACTIONS)}")
    if (content["run"] == "sweep") != ("sweep" in content):
        raise ValueError(
            f"{path}: steps.{name}.sweep is {'missing' if content['run'] == 'sweep' else 'for sweeps only'}"
        )
    lists = {key: tuple(content.get(key, ())) for key in ("needs", "overrides")}
    return Step(name=name, **{**content, **lists})


def check_needs(path: Path, step: Step, steps: dict[str, Step]) -> None:
    """Raises ValueError for a need that is no step, or a value that the action takes and none of the needs gives."""
    for need in step.needs:
        if need not in steps:
            raise ValueError(f"{path}: steps.{step.name}.needs: no step is called {need!r}{meant(need, steps)}")
    given = {value for need in step.needs for value in ACTIONS[steps[need].run].gives}
    for value in ACTIONS[step.run].takes:
        if value not in given:
            sources = ", ".join(name for name, action in ACTIONS.items() if value in action.gives)
            raise ValueError(
                f"{path}: steps.{step.name}.needs has no step that gives the {value} that {step.run} takes; "
                f"one that runs {sources} does"
            )


def require(path: Path, key: str, value: Any, kind: Any) -> None:
    """Raises ValueError for a value that is there and of another kind."""
    words = {dict: "a mapping", list: "a list", str: "a text", int: "a whole number", (int, float): "a number"}
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ValueError(f"{path}: {key or 'the file'} is {value!r}, and should be {words[kind]}")


def require_texts(path: Path, key: str, content: dict[str, Any]) -> None:
    for item in content.get(key.rpartition(".")[2]) or ():
        if not isinstance(item, str):
            raise ValueError(f"{path}: {key}: {item!r} should be a text")


def refuse_unknown(path: Path, prefix: str, content: dict[str, Any], known: set[str]) -> None:
    for key in content.keys() - known:
        raise ValueError(f"{path}: {prefix}{key} is not one of {', '.join(sorted(known))}{meant(key, known)}")


def meant(word: Any, known: Iterable[str]) -> str:
    """`; did you mean …?`, where one of those known is close."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
