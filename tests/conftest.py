"""In which order files of tests are run."""

from collections import Counter


def pytest_collection_modifyitems(items):
    """Those with most slow tests first, so that workers which take file after file end at about the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
