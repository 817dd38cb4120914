import numpy as np
import pytest

from unlatent.platform.data_order import LANES, ChunkShuffle, FullShuffle, mix, share_of

LENGTHS = np.array([5, 64, 1, 30, 64, 64, 17, 8, 50])  # of chunks: 303 images, which no batch divides
ORDERS = pytest.mark.parametrize(
    "order", [FullShuffle(303, seed=7), ChunkShuffle(LENGTHS, seed=7, window=64)], ids=["images", "chunks"]
)


@ORDERS
def test_every_epoch_has_every_image_once_and_an_order_of_its_own(order):
    epochs = [order.indices(np.arange(303 * number, 303 * (number + 1))) for number in range(9)]

    assert all(sorted(epoch) == list(range(303)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 9


@ORDERS
@pytest.mark.parametrize("world", [1, 2, 3, 8, 16])
def test_workers_share_positions_without_overlap_or_loss(order, world):
    shares = [order.indices(share_of(48, 1248, rank, world)) for rank in range(world)]

    together = np.stack([share[: 1200 // world] for share in shares], axis=1).ravel()
    assert np.array_equal(together, order.indices(np.arange(48, 1248)))


@ORDERS
def test_from_any_position_on_the_order_is_the_rest_of_the_whole(order):
    whole = order.indices(np.arange(1000))

    for position in (1, 300, 303, 640, 999):
        assert np.array_equal(order.indices(np.arange(position, 1000)), whole[position:])


@ORDERS
def test_another_seed_gives_another_order(order):
    other = type(order)(**{**vars_of(order), "seed": 8})

    assert not np.array_equal(order.indices(np.arange(303)), other.indices(np.arange(303)))


def vars_of(order):
    return {name: getattr(order, name) for name in order.__dataclass_fields__}


def test_a_window_touches_few_chunks_and_a_worker_with_a_lane_to_itself_reads_no_others_chunks():
    lengths = np.full(256, 64)  # 16,384 images
    chunk_of = np.repeat(np.arange(256), 64)
    order = ChunkShuffle(lengths, seed=1, window=2048)

    touched = [set(chunk_of[order.indices(share_of(2048, 4096, rank, LANES))]) for rank in range(LANES)]

    assert sum(map(len, touched)) == len(set.union(*touched)) == 2048 // 64


def test_images_change_places_between_the_chunks_of_a_window():
    lengths = np.full(64, 16)
    order = ChunkShuffle(lengths, seed=1, window=512)
    chunks = order.indices(np.arange(0, 512, LANES)) // 16  # lane 0

    assert len(set(chunks[:8])) > 2 and len(set(chunks)) <= 5


def test_positions_that_add_up_alike_do_not_share_noise():
    assert len({mix(seed, images, rank) for seed in range(3) for images in range(3) for rank in range(3)}) == 27
