import pytest

from tests.kitchen import Kitchen
from unlatent.pipelines import steps


@pytest.fixture
def kitchen(tmp_path, monkeypatch) -> Kitchen:
    made = Kitchen(tmp_path)
    for name, action in made.actions.items():
        monkeypatch.setitem(steps.ACTIONS, name, action)
    return made
