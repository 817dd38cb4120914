import subprocess
import sys

import pytest
import torch

from unlatent.platform import torchvision_shim


def run(script):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    ).stdout


def test_clean_fid_imports_after_it_and_a_second_call_changes_nothing():
    script = """
from unlatent.platform import torchvision_shim
from unlatent.platform.torchvision_shim import declare_missing_operators
declare_missing_operators()
declared = list(torchvision_shim._declarations)
declare_missing_operators()
import cleanfid.fid
print("imported", torchvision_shim._declarations == declared)
"""
    assert run(script).strip() == "imported True"


def test_nothing_is_declared_where_the_compiled_part_loads(monkeypatch):
    monkeypatch.setattr(torchvision_shim, "_declarations", [])
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)

    torchvision_shim.declare_missing_operators()

    assert torchvision_shim._declarations == []


@pytest.mark.parametrize("module", ["features", "metrics", "evaluation"])
def test_clean_fid_is_not_imported_before_it_is_needed(module):
    assert run(f"import sys, unlatent.platform.{module}; print('cleanfid' in sys.modules)").strip() == "False"
