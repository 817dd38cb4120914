"""The package as it runs here, as a wheel for the nodes of a cluster, whether it runs from a checkout or is installed.

Ray knows a wheel by its name alone, so the name holds the hash of the code. Ray has pip install it on each node without
an index, so it asks pip for nothing: what it needs is an extra, `node`, which is there to be read and not installed.
"""

import base64
import hashlib
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

from unlatent.platform.provenance import PACKAGE, code_version, release, sources

EPOCH = (1980, 1, 1, 0, 0, 0)  # the same code is the same file, byte for byte
EXTRA = "node"


def write_wheel(folder: Path) -> Path:
    """Writes the wheel of the running package into a folder. Returns its path."""
    version = f"{(release('unlatent') or '0').partition('+')[0]}+{code_version()}"
    wheel = folder / f"unlatent-{version}-py3-none-any.whl"
    contents = {f"unlatent/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes() for path in sources()}
    contents |= description(version)
    record = f"unlatent-{version}.dist-info/RECORD"
    contents[record] = "".join([*map(record_line, contents.items()), f"{record},,\n"]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)
    return wheel


def description(version: str) -> dict[str, bytes]:
    """What makes a zip file a wheel."""
    needed = "".join(f'Requires-Dist: {each}; extra == "{EXTRA}"\n' for each in requirements())
    about = f"Metadata-Version: 2.1\nName: unlatent\nVersion: {version}\nProvides-Extra: {EXTRA}\n{needed}"
    kind = "Wheel-Version: 1.0\nGenerator: unlatent\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    folder = f"unlatent-{version}.dist-info"
    return {f"{folder}/METADATA": about.encode(), f"{folder}/WHEEL": kind.encode()}


def record_line(item: tuple[str, bytes]) -> str:
    name, data = item
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def requirements() -> list[str]:
    """What the package needs wherever it runs, as it was declared: `pyarrow>=17`. Extras are left out."""
    try:
        declared = [Requirement(text) for text in requires("unlatent") or []]
    except PackageNotFoundError:  # runs from a checkout that was never installed
        return []
    always = [each for each in declared if each.marker is None or each.marker.evaluate({"extra": EXTRA})]
    for each in always:
        each.marker = None
    return [str(each) for each in always]
