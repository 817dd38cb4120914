"""Whether every node of a cluster can do the work: fitting packages, our code, the same store. The nodes are asked.

Nodes that come later are not.
"""

import uuid
from collections.abc import Callable
from platform import python_version
from typing import TypeVar

from packaging.requirements import Requirement

from unlatent.platform.provenance import code_version, release
from unlatent.platform.shipping import requirements
from unlatent.platform.store import Store

Answer = TypeVar("Answer")
Versions = dict[str, str | None]  # of Python and of packages; None for one that is not there

AGREE = {  # so many parts of a version must be the same on every node as here
    "python": 2,
    "ray": 3,
    "torch": 3,  # workers of one run talk to each other, numbers follow the release; builds for CPU and CUDA may mix
    "pyarrow": 1,  # its file systems and tables travel as pickles
    "numpy": 1,  # as do arrays
}


def require_fit() -> None:
    """Raises ValueError, in one line, for a node whose packages or whose copy of ours do not fit those here."""
    wanted = [Requirement(text) for text in requirements()]
    names = sorted({*AGREE, *(each.name for each in wanted)} - {"python"})
    ours: Versions = {"python": python_version(), **{name: release(name) for name in names}}
    found = ask_each(look_around(names))
    refuse([(node, problem) for node, (theirs, _, _) in found for problem in misfits(ours, theirs, wanted)])
    refuse([(node, other_code(code, place)) for node, (_, code, place) in found if code != code_version()])


def misfits(ours: Versions, theirs: Versions, wanted: list[Requirement]) -> list[str]:
    """What of a node's packages does not do, and what would."""
    problems = []
    for name, parts in AGREE.items():
        if theirs[name] and release_of(theirs[name], parts) != release_of(ours[name], parts):
            would = release_of(ours[name], parts) + ("" if parts == 3 else ".*")
            problems.append(f"{name} {theirs[name]} there, {ours[name]} here; {name}=={would} there would do")
    for each in wanted:
        there = theirs[each.name]
        if there is None:
            problems.append(f"no {each.name} there, {ours[each.name]} here; install {each} there")
        elif each.name not in AGREE and not each.specifier.contains(there, prereleases=True):
            problems.append(f"{each.name} {there} there, {ours[each.name]} here; {each} there would do")
    return problems


def release_of(text: str | None, parts: int) -> str:
    """The first parts of a version, without a label of the build: 2.13.0 of 2.13.0+cu130."""
    return ".".join((text or "").partition("+")[0].split(".")[:parts])


def other_code(code: str | None, place: str) -> str:
    if code is None:
        return f"unlatent can't be imported there: {place}"
    return f"unlatent there is other code, in {place}, which comes before what this command sends; remove it there"


def require_shared(store: Store) -> None:
    """Raises ValueError if a node does not find in the store what this process has put there."""
    marker = f".seen-{uuid.uuid4().hex}"
    store.write_bytes(marker, b"one store for all?")
    try:
        answers = ask_each(look_for(store, marker))
    finally:
        store.delete(marker)
    unlike = "is another folder there; give one that every node mounts, or an object store: store=s3://bucket/folder"
    refuse([(node, f"store={store.root} {why or unlike}") for node, why in answers if why is not None])


def refuse(problems: list[tuple[str, str]]) -> None:
    """Raises ValueError for the problems of nodes, those of many nodes told once."""
    nodes: dict[str, list[str]] = {}
    for node, problem in problems:
        nodes.setdefault(problem, []).append(node)
    if nodes:
        raise ValueError("; ".join(f"{in_words(each)}: {problem}" for problem, each in nodes.items()))


def in_words(nodes: list[str]) -> str:
    return f"node {nodes[0]}" + (f" and {len(nodes) - 1} more" if len(nodes) > 1 else "")


def look_around(names: list[str]) -> Callable[[], tuple[Versions, str | None, str]]:
    """A node's packages, the hash of its copy of ours, and where that is; without a hash, why it can't be imported.

    Nested functions travel whole: this one runs where the package can't be imported.
    """

    def answer() -> tuple[Versions, str | None, str]:
        import platform
        from importlib import metadata

        found: Versions = {"python": platform.python_version()}
        for name in names:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = None
        try:
            from unlatent.platform import provenance
        except ImportError as error:
            return found, None, str(error)
        return found, provenance.code_version(), str(provenance.PACKAGE)

    return answer


def look_for(store: Store, marker: str) -> Callable[[], str | None]:
    """Whether a node finds a file of the store. None if it does, else why not, as far as that is known."""

    def answer() -> str | None:
        try:
            return None if store.exists(marker) else ""
        except (OSError, ValueError) as error:
            return f"can't be read there: {error}"

    return answer


def ask_each(question: Callable[[], Answer], timeout_s: float = 300) -> list[tuple[str, Answer]]:
    """The answer of every node that is alive, with the node's name.

    Raises ValueError for a node that does not answer.
    """
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asking = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = []
    for node in filter(lambda node: node["Alive"], ray.nodes()):
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        asked.append((name, asking.options(scheduling_strategy=there).remote()))
    answers = []
    for name, answer in asked:
        try:
            answers.append((name, ray.get(answer, timeout=timeout_s)))
        except GetTimeoutError:
            raise ValueError(f"node {name} has not answered for {timeout_s:g} s; `ray status` says how it is") from None
        except RayError as error:
            raise ValueError(f"node {name} can't run the package: {one_line(error)}") from None
    return answers


def one_line(error: Exception) -> str:
    """Of an error of Ray's, which ends in what went wrong there."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
