import asyncio
from typing import Any

import pytest

from unlatent.platform.tuning import exchange
from unlatent.platform.tuning.exchange import NOTHING_YET, Exchange, GivenUpError, News

TOLD = {"spent": 200.0, "fid": 3.0}


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setattr(exchange, "PATIENCE_S", 0.1)


def talk(conversation) -> Any:
    return asyncio.run(conversation(Exchange(["one", "two"], most_deaths=1)))


def test_crews_take_trials_in_the_order_in_which_they_are_put():
    async def conversation(between):
        taking = asyncio.ensure_future(between.next("one"))  # before there is any
        await between.put("a", {"run_id": "a"})
        await between.put("b", {"run_id": "b"})
        return await taking, await between.next("two")

    assert talk(conversation) == ({"run_id": "a"}, {"run_id": "b"})


def test_a_crew_hears_that_there_is_nothing_yet_and_that_there_will_be_nothing_more():
    async def conversation(between):
        before = await between.next("one")
        await between.close()
        return before, await between.next("one")

    assert talk(conversation) == (NOTHING_YET, None)


def test_who_trains_on_for_nobody_is_told_so_and_only_crews_that_were_there_are_waited_for():
    async def conversation(between):
        await between.put("a", {"run_id": "a"})
        await between.put("b", {"run_id": "b"})
        await between.next("one")
        await between.withdraw("a")
        with pytest.raises(GivenUpError, match="a"):
            await between.ask("a", TOLD)
        await between.require_open("b")
        begun = await between.close()
        with pytest.raises(GivenUpError, match="b"):
            await between.require_open("b")
        return begun

    assert talk(conversation) == {"one"}


@pytest.mark.parametrize("goes_on", [True, False])
def test_workers_go_on_or_stop_as_the_trials_process_says_and_hear_the_same_again(goes_on):
    async def conversation(between):
        await between.put("a", {"run_id": "a"})
        await between.next("one")
        asking = asyncio.ensure_future(between.ask("a", TOLD))
        heard = await between.news("a")
        await between.answer("a", TOLD, goes_on)
        return heard, await asking, await between.ask("a", TOLD)

    assert talk(conversation) == (News(told=TOLD), goes_on, goes_on)


def test_a_trials_process_that_died_hears_what_is_still_asked():
    async def conversation(between):
        await between.put("a", {"run_id": "a"})
        await between.next("one")
        unanswered = await between.ask("a", TOLD)
        first = await between.news("a")
        await between.put("a", {"run_id": "a"})  # by the process that took its place
        return unanswered, first == await between.news("a"), await between.next("two")

    assert talk(conversation) == (None, True, NOTHING_YET)


def test_workers_that_were_started_anew_take_their_trial_up_again_but_not_for_ever():
    async def conversation(between):
        await between.put("a", {"run_id": "a"})
        taken = [await between.next("one") for _ in range(3)]
        news = await between.news("a")
        await between.put("a", {"run_id": "a"})
        return taken, news, await between.next("one")

    taken, news, again = talk(conversation)
    assert taken == [{"run_id": "a"}, {"run_id": "a"}, NOTHING_YET]
    assert news.ended and news.error == "its workers died 2 times"
    assert again == {"run_id": "a"}, "which is what Tune asks for when it tries a trial again"


def test_a_worker_that_fails_as_another_dies_does_not_end_the_trial():
    async def conversation(between):
        await between.put("a", {"run_id": "a"})
        await between.next("one")
        await between.fail("one", "RuntimeError: connection reset")
        again = await between.next("one")
        await between.fail("one", "RuntimeError: connection reset by peer")
        await between.next("one")
        return again, await between.news("a")

    again, news = talk(conversation)

    assert again == {"run_id": "a"}
    assert news.error == "its workers died 2 times; RuntimeError: connection reset by peer"


def test_why_a_trial_failed_is_told_once_whoever_of_its_workers_says_so_first():
    async def conversation(between):
        await between.put("a", {"run_id": "a"})
        await between.next("one")
        await between.end("one", "ValueError: no such folder")
        await between.end("one", "RuntimeError: connection closed by peer")
        return await between.news("a")

    assert talk(conversation).error == "ValueError: no such folder"


def test_a_trial_that_is_put_again_is_decided_on_again():
    async def conversation(between):
        await between.put("a", {"run_id": "a"})
        await between.next("one")
        await between.answer("a", TOLD, True)
        await between.end("one")
        await between.put("a", {"run_id": "a"})
        return await between.ask("a", TOLD)

    assert talk(conversation) is None


def test_a_crew_that_is_lost_leaves_its_trial_to_the_others_and_the_last_one_to_none():
    async def conversation(between):
        await between.put("a", {"run_id": "a"})
        await between.next("one")
        await between.lose("one", "no room")
        taken = await between.next("two")
        await between.lose("two", "no room")
        await between.put("b", {"run_id": "b"})
        return taken, await between.news("a"), await between.news("b")

    taken, *ended = talk(conversation)
    assert taken == {"run_id": "a"}
    assert [news.error for news in ended] == ["no room", "no room"]
