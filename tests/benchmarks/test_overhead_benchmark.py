"""The benchmark of what training costs beside itself takes its measures, at the smallest size."""

import re

import pytest

from benchmarks import train_overhead


@pytest.mark.slow
def test_reading_images_and_writing_checkpoints_are_each_compared_with_their_baseline(capsys):
    small = ["--rounds", "1", "--images", "1024", "--image-size", "64", "--only", "loading", "checkpoint"]

    assert train_overhead.main([*small, "--", "model.width=32", "model.heads=2", "model.patch_depth=1"]) == 0

    said = capsys.readouterr().out
    measured = re.findall(r"^  (\S.*?)  +(?:[\d.e-]+ +){3}([\d.e-]+)   (\S+)$", said, re.MULTILINE)
    written = ["written aside", "written in the loop"]
    assert [name for name, _, _ in measured] == ["tasks of Ray, one ahead", "decoding on one core", *written, *written]
    assert [unit for _, _, unit in measured] == 2 * ["images/s"] + 4 * ["s"]
    assert all(float(ratio) > 0 for _, ratio, _ in measured)
