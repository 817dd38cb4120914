import math
from functools import partial

import pytest
import torch

from unlatent.models.embeddings import (
    PositionTable,
    TimeEmbedding,
    rope_line,
    rope_tokens,
    rotate,
    sincos_positions,
)


def test_rotated_products_depend_on_the_distance_alone():
    rope = rope_tokens(16, 1, 5, 5)  # 5 x 5 tokens, row-major
    q, k = torch.randn(2, 1, 1, 1, 16)

    products = rotate(q.expand(1, 25, 1, 16), rope)[0, :, 0] @ rotate(k.expand(1, 25, 1, 16), rope)[0, :, 0].T

    torch.testing.assert_close(products[0, 6], products[12, 18])  # one down, one to the right
    torch.testing.assert_close(products[3, 7], products[13, 17])  # one down, one to the left
    assert not torch.isclose(products[0, 1], products[0, 5])  # right is not down


def test_rotation_keeps_lengths():
    x = torch.randn(2, 25, 3, 16)

    torch.testing.assert_close(rotate(x, rope_tokens(16, 1, 5, 5)).norm(dim=-1), x.norm(dim=-1))


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (7, 7), (3, 8)])
def test_rope_positions_run_from_0_to_16_on_both_sides_of_every_grid(rows, columns):
    cos, _ = rope_tokens(8, 1, rows, columns).unflatten(1, (rows, columns))

    slow = 10_000**-0.5
    assert (cos[0, 0] == 1).all()
    torch.testing.assert_close(cos[-1, -1, 0, 2:], torch.tensor([16 * slow, 16 * slow]).cos())
    torch.testing.assert_close(cos[0, columns // 2, 0, 0], torch.tensor(16 * (columns // 2) / (columns - 1)).cos())


def test_rope_pairs_follow_column_and_row_by_turns():
    cos, sin = rope_tokens(8, 1, 3, 2)  # 3 rows, at 0, 8 and 16; 2 columns, at 0 and 16

    slow = 10_000**-0.5
    angles = torch.tensor([16, 8, 16 * slow, 8 * slow])  # of the pairs of row 1, column 1
    torch.testing.assert_close(cos[3, 0], angles.cos())
    torch.testing.assert_close(sin[3, 0], angles.sin())


def test_a_pair_is_turned_by_its_angle():
    angle = torch.tensor(0.3)
    rope = torch.stack([angle.cos(), angle.sin()]).view(2, 1, 1, 1)

    turned = rotate(torch.tensor([1.0, 0.0]).view(1, 1, 1, 2), rope)

    torch.testing.assert_close(turned.flatten(), torch.stack([angle.cos(), angle.sin()]))


def test_rotated_queries_keep_their_type():
    x = torch.randn(1, 4, 2, 8, dtype=torch.bfloat16)

    assert rotate(x, rope_tokens(8, 1, 2, 2)).dtype == torch.bfloat16


def test_the_tokens_of_a_text_lie_one_step_apart():
    cos, sin = rope_line(8, 5)

    angles = 3 * 10_000 ** -(torch.arange(0, 8, 2) / 8)
    torch.testing.assert_close(cos[3, 0], angles.cos())
    torch.testing.assert_close(sin[3, 0], angles.sin())


def test_a_table_serves_other_grids_than_its_own():
    table = PositionTable(partial(rope_tokens, 8, 1), 4, 4)

    assert table(4, 4) is table.table
    torch.testing.assert_close(table(2, 6), rope_tokens(8, 1, 2, 6))


def test_rope_tokens_follow_the_blocks():
    by_rows, by_blocks = rope_tokens(8, 1, 4, 4)[:, :, 0], rope_tokens(8, 2, 4, 4)[:, :, 0]

    assert torch.equal(by_blocks, by_rows[:, [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]])


def test_sincos_tells_the_column_then_the_row():
    table = sincos_positions(rows=3, columns=5, width=8)  # frequencies 1 and 0.01

    column, row = 4, 2
    expected = [
        *(math.sin(column), math.sin(column / 100), math.cos(column), math.cos(column / 100)),
        *(math.sin(row), math.sin(row / 100), math.cos(row), math.cos(row / 100)),
    ]
    torch.testing.assert_close(table[:, row, column], torch.tensor(expected))


def test_time_is_embedded_by_cosines_then_sines_of_slow_waves():
    embed = TimeEmbedding(8, scale=1.0)
    seen = []
    embed.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    embed(torch.tensor([0.0, 0.5]))

    frequencies = 10 ** -(torch.arange(128) / 128)  # from 1 down to about a tenth
    torch.testing.assert_close(seen[0][1], torch.cat([(0.5 * frequencies).cos(), (0.5 * frequencies).sin()]))
    assert torch.equal(seen[0][0], torch.cat([torch.ones(128), torch.zeros(128)]))
