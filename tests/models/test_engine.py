"""The engine without any server: who shares a call, who joins and leaves when, and that nobody shows in another."""

import gc
import random
import weakref

import pytest
import torch

from unlatent.models import SamplerConfig, Text, TextConfig, sample
from unlatent.models.editing import Edit, EditConfig, edit, most_rows
from unlatent.models.engine import Call, Engine, Job
from unlatent.models.samplers import STEPS, draw

NULL = 10
SHOWN = 1e-4  # at most, of one image in another: what rounding does in batches of other sizes


class Recorder:
    """A network that flows straight to its label, and notes what it was shown; it can be made to fail."""

    def __init__(self):
        self.calls: list[list[tuple[float, int]]] = []
        self.fails = False

    def __call__(self, x, t, label):
        self.calls.append(list(zip(t.tolist(), label.tolist(), strict=True)))
        if self.fails:
            raise RuntimeError("out of memory")
        return (label[:, None, None, None] - x) / (1 - t[:, None, None, None])


def job(label=3, seed=0, on_step=None, side=4, **settings):
    """An image of a network of ten classes, which has one channel and 4x4 pixels."""
    sampler = SamplerConfig(**{"name": "euler", "steps": 4, **settings})
    noise = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(seed))
    way = draw(noise, torch.tensor([label]), sampler, torch.tensor([NULL]), on_step)
    return Job(way, sampler.most_rows)


def engine(network=None, max_rows=8, **options):
    return Engine(network or Recorder(), "fp32", max_rows, **options)


def run(engine, *jobs):
    for each in jobs:
        engine.add(each)
    ended = []
    while not engine.idle:
        ended += engine.step()
    return ended


def labels_by_call(network):
    return [[label for _, label in call] for call in network.calls]


def test_images_at_different_times_share_a_call():
    network = Recorder()
    shared = engine(network)

    shared.add(job(1, steps=4))
    shared.step()
    shared.add(job(2, steps=10))
    shared.step()

    assert network.calls[1] == [(0.25, 1), (0.0, 2)]


def test_an_image_joins_at_the_next_step_and_leaves_when_it_is_done():
    network = Recorder()
    shared = engine(network)
    long, short = job(1, steps=5), job(2, steps=2)

    shared.add(long)
    shared.step()
    shared.add(short)
    ended = [shared.step() for _ in range(4)]

    assert labels_by_call(network) == [[1], [1, 2], [1, 2], [1], [1]]
    assert ended == [[], [short], [], [long]]


@pytest.mark.parametrize("mates", [1, 7])
@pytest.mark.parametrize("name", STEPS)
def test_an_image_is_the_same_alone_and_among_others(make_config, make_network, name, mates):
    network = make_network(make_config())
    settings = SamplerConfig(name=name, steps=6, guidance=3.0, shift=2.0)
    noise, label = torch.randn(1, 3, 16, 16), torch.tensor([3])
    wanted = Job(draw(noise, label, settings, network.unconditional(len(label))), settings.most_rows)
    others = []
    for mate in range(mates):
        other = SamplerConfig(name=list(STEPS)[mate % 4], steps=3 + mate, guidance=1.0 + mate % 3)
        kind = torch.tensor([mate])
        way = draw(torch.randn(1, 3, 16, 16), kind, other, network.unconditional(len(kind)))
        others.append(Job(way, other.most_rows))

    run(engine(network, max_rows=32), *others[:3], wanted, *others[3:])

    alone = sample(network, noise, label, settings, network.unconditional(len(label)))
    assert (wanted.image - alone).abs().max() < SHOWN


def test_unconditional_rows_are_made_inside_the_guidance_interval_alone():
    network = Recorder()

    run(engine(network), job(1, guidance=2.0, guidance_low=0.2, guidance_high=0.6), job(2))

    assert labels_by_call(network) == [[1, 2], [1, NULL, 2], [1, NULL, 2], [1, 2]]


def test_no_call_has_more_rows_than_the_limit():
    network = Recorder()

    run(engine(network, max_rows=5), *[job(n % 10, guidance=1.0 + n % 2, steps=2 + n % 5) for n in range(30)])

    assert max(len(call) for call in network.calls) == 5


def test_first_come_first_served_and_nobody_passes_the_one_whose_turn_it_is():
    network = Recorder()
    shared = engine(network, max_rows=2)
    large, small = job(2, guidance=2.0), job(3, steps=1)  # the large one has no room beside the first

    ended = run(shared, first := job(1, steps=2), large, small)

    assert ended == [first, large, small]


def test_a_short_image_does_not_wait_for_long_ones():
    shared = engine()
    for _ in range(4):
        shared.add(job(steps=1000))
    shared.step()

    shared.add(short := job(steps=3))

    assert [shared.step() for _ in range(3)][-1] == [short]


def test_what_is_given_up_is_not_asked_about_again():
    network = Recorder()
    shared = engine(network)
    leaving, staying = job(1), job(2)
    shared.add(leaving)
    shared.add(staying)
    shared.step()

    leaving.given_up = True
    run(shared)

    assert labels_by_call(network) == [[1, 2], [2], [2], [2]]
    assert leaving.image is None and staying.image is not None


def test_what_is_given_up_while_it_waits_leaves_the_queue():
    network = Recorder()
    shared = engine(network, max_rows=1)
    first, leaving, last = job(1), job(2), job(3)
    for each in (first, leaving, last):
        shared.add(each)

    leaving.given_up = True

    assert run(shared) == [leaving, first, last]


class GivenUpMeanwhile(Job):
    """Of whom another thread lets go just after the engine has looked."""

    looks = 0

    def __setattr__(self, name, value):
        if name != "given_up":
            super().__setattr__(name, value)

    @property
    def given_up(self):
        self.looks += 1
        return self.looks > 3


@pytest.mark.parametrize("max_rows", [1, 2])
def test_who_is_given_up_while_the_engine_looks_is_told_of_once_and_not_lost(max_rows):
    shared, model = engine(max_rows=max_rows), job(1, steps=50)
    leaving = GivenUpMeanwhile(model.trajectory, 1)
    shared.add(job(2, steps=3))
    shared.add(leaving)

    ended = run(shared)

    assert ended.count(leaving) == 1 and shared.idle and leaving.image is None


def test_an_image_that_fails_on_its_own_harms_no_other():
    def fail(done, point):
        if done == 2:
            raise ZeroDivisionError("at step 2")

    failing, other = job(1, on_step=fail), job(2)

    ended = run(engine(), failing, other)

    assert ended == [failing, other]
    assert str(failing.error) == "at step 2" and other.image is not None


def test_a_call_that_fails_ends_those_in_it_and_the_next_are_unharmed():
    network = Recorder()
    shared = engine(network, max_rows=2)
    inside, waiting = [job(1), job(2)], job(3)
    for each in (*inside, waiting):
        shared.add(each)

    network.fails = True
    ended = shared.step()
    network.fails = False

    assert ended == inside and {str(each.error) for each in inside} == {"out of memory"}
    assert run(shared) == [waiting]
    torch.testing.assert_close(waiting.image, torch.full((1, 1, 4, 4), 3.0))


def test_a_call_that_fails_harms_no_image_of_another_size():
    class Picky(Recorder):
        def __call__(self, x, t, label):
            if x.shape[-1] == 8:
                raise RuntimeError("out of memory")
            return super().__call__(x, t, label)

    shared = engine(Picky())
    small, large, last = job(1), job(2, side=8), job(3)

    ended = run(shared, small, large, last)

    assert ended == [large, small, last] and str(large.error) == "out of memory"
    torch.testing.assert_close(last.image, torch.full((1, 1, 4, 4), 3.0))


def test_a_step_tells_of_each_of_its_calls():
    shared = engine()
    for each in (job(1), job(2, side=8), job(3)):
        shared.add(each)

    shared.step()

    assert shared.calls == [Call(rows=2, failed=False), Call(rows=1, failed=False)]


def test_an_image_that_could_never_join_is_refused():
    with pytest.raises(ValueError) as refusal:
        engine(max_rows=1).add(job(guidance=2.0))

    assert str(refusal.value) == "an image that needs 2 rows at once is over the limit of 1"


def test_calls_are_padded_to_buckets_and_nobody_sees_it():
    network, padded = Recorder(), Recorder()
    plain, jobs = run(engine(network), *[job(n) for n in range(3)]), [job(n) for n in range(3)]

    run(engine(padded, buckets=(1, 4, 8)), *jobs)

    assert {len(call) for call in network.calls} == {3} and {len(call) for call in padded.calls} == {4}
    assert all(torch.equal(a.image, b.image) for a, b in zip(plain, jobs, strict=True))


def test_texts_of_two_lengths_are_on_their_way_together(make_config, make_network):
    network = make_network(make_config(condition="text", text=TextConfig(width=12, tokens=7)))
    settings, texts = SamplerConfig(steps=3), [Text(torch.randn(1, length, 12)) for length in (3, 7, 3)]
    noises = torch.randn(3, 1, 3, 16, 16)
    jobs = [Job(draw(noise, text, settings), 1) for noise, text in zip(noises, texts, strict=True)]

    run(engine(network), *jobs)

    for each, noise, text in zip(jobs, noises, texts, strict=True):
        assert (each.image - sample(network, noise, text, settings)).abs().max() < SHOWN


def test_edits_and_images_share_a_call():
    network = Recorder()
    task = Edit(
        torch.tensor([1]),
        torch.tensor([2]),
        torch.tensor([NULL]),
        EditConfig(steps=4, n_max=4, source_guidance=2),
        SamplerConfig(),
    )
    editing = Job(
        edit(torch.zeros(1, 1, 4, 4), task, lambda: torch.randn(1, 1, 4, 4)), most_rows(task.config, task.sampler)
    )

    run(engine(network), editing, job(3))

    assert labels_by_call(network)[1] == [2, NULL, 1, NULL, 3]


@pytest.mark.parametrize("seed", range(5))
def test_ten_thousand_arrivals_departures_and_failures_leave_nothing_behind(seed):
    chance, network = random.Random(seed), Recorder()
    shared, given, alive, ended = engine(network, max_rows=6), 0, weakref.WeakSet(), 0

    def fail(done, point):
        raise ZeroDivisionError

    while given < 2_000 or not shared.idle:
        for _ in range(chance.choice([0, 0, 1, 3]) if given < 2_000 else 0):
            new = job(given % 10, given, chance.choice([None, None, None, fail]), steps=chance.randint(1, 6),
                      guidance=chance.choice([1.0, 2.0]))  # fmt: skip
            shared.add(new)
            alive.add(new)
            given += 1
            del new
        for each in [*shared.waiting, *shared.under_way]:
            each.given_up |= chance.random() < 0.05
        network.fails = chance.random() < 0.02
        finished = shared.step()
        ended += len(finished)
        for each in finished:
            assert each.given_up or each.error or (each.image - each.image.mean()).abs().max() < 1e-4
        assert sum(each.most_rows for each in shared.under_way) <= 6
        del finished
        each = None

    gc.collect()
    assert ended > 500 and len(alive) == 0
    network.fails = False
    last = job(7)
    assert run(shared, last) == [last]
    torch.testing.assert_close(last.image, torch.full((1, 1, 4, 4), 7.0))
