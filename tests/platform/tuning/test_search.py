import pytest
from ray.tune.search import Searcher

from unlatent.platform.tuning.results import Results
from unlatent.platform.tuning.search import Search
from unlatent.platform.tuning.source import Listed

TWO = "knobs: {train.learning_rate: [1.0e-3, 1.0e-4]}\n"


class Heard(Listed):
    """A list of trials that notes what they came to."""

    def hear(self, trial, result):
        self.came_to = [*getattr(self, "came_to", []), (trial.run_id, result)]


@pytest.fixture
def search(plan):
    sweep = plan(TWO, "cluster.max_failures=1")
    source = Heard(sweep)
    source.recall(Results(sweep), retry_failed=False)
    return Search(sweep, source.waiting(), source)


def run_id(given) -> str:
    return given["trial"]["run_id"]


def test_a_trial_that_comes_back_is_handed_out_before_those_that_have_not_been(search):
    first = search.suggest("a")

    assert search.take_back("a")

    assert [run_id(search.suggest(name)) for name in ("b", "c")] == [
        run_id(first), search.sweep.trials[1].run_id,
    ]  # fmt: skip


def test_a_trial_comes_back_no_more_often_than_it_may_fail(search):
    search.suggest("a")
    assert search.take_back("a")
    search.suggest("b")

    assert not search.take_back("b")
    search.give_up("b")

    assert search.source.came_to == [(search.sweep.trials[0].run_id, None)]
    assert run_id(search.suggest("c")) == search.sweep.trials[1].run_id


def test_a_search_is_over_only_when_no_trial_can_come_back(search):
    search.suggest("a")
    search.suggest("b")
    search.on_trial_complete("a", {"spent": 1.0})

    assert search.suggest("c") is None
    search.on_trial_complete("b", error=True)
    assert search.suggest("c") is None  # whether it is given up is yet to be said
    search.give_up("b")

    assert search.suggest("c") == Searcher.FINISHED
    assert [came for _, came in search.source.came_to] == [{"spent": 1.0}, None]
