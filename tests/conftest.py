"""How tests are run beside each other."""

import os
from collections import Counter

os.environ.setdefault("RAY_worker_niceness", "0")  # 15: what one test computes would leave nothing to another's Ray


def pytest_collection_modifyitems(items):
    """Those with most slow tests first, so that workers which take file after file end at about the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
