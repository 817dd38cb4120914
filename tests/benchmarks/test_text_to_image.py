"""The benchmark of the text network measures what it says, at small size."""

import json

import pytest
import torch

from benchmarks.contenders import visible
from benchmarks.text_to_image import BASELINE, COMPILED, HELD_FP32, compiled, held_in_bf16, main, measure_call
from unlatent.models import PixelTransformer
from unlatent.models.presets import preset

TINY = {
    "image_size": 32,
    "width": 48,
    "heads": 2,
    "patch_depth": 2,
    "compaction": {"width": 32, "heads": 2},
    "text": {"width": 16, "tokens": 5},
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_one_command_measures_calls_and_images_of_every_size(tmp_path, capsys):
    file = tmp_path / "measured.json"

    words = ["--small", "--sizes", "64x64", "96x32", "--rounds", "2", "--steps", "2", "--json", str(file)]
    status = main(words)

    measured, text = json.loads(file.read_text()), capsys.readouterr().out
    assert status == 0
    assert measured["same"] is True
    assert {(call["size"], call["rows"]) for call in measured["calls"]} == {
        (size, rows) for size in ("64x64", "96x32") for rows in (1, 2)
    }
    assert {call["contender"] for call in measured["calls"]} == {HELD_FP32, BASELINE}
    assert [drawing["size"] for drawing in measured["drawings"]] == ["96x32"] * 2 + ["64x64"] * 2
    assert "96x32, 2 rows, held in bf16" in text


def test_weights_in_bf16_take_half_and_tables_stay_exact():
    network = PixelTransformer(preset("text", **TINY))

    halved = held_in_bf16(network)

    assert {weight.dtype for weight in halved.parameters()} == {torch.bfloat16}
    assert {table.dtype for table in halved.buffers()} == {torch.float32}
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


@pytest.mark.slow
def test_the_compiled_network_shares_the_weights_and_says_the_same():
    torch.manual_seed(0)
    config = preset("text", **TINY)
    network = held_in_bf16(visible(PixelTransformer(config)).requires_grad_(False))
    contenders = {BASELINE: network, COMPILED: compiled(network)}

    found, [agreement] = measure_call(contenders, config, (48, 32), 2, 1, torch.device("cpu"))

    pairs = zip(network.parameters(), contenders[COMPILED].parameters(), strict=True)
    assert all(one.data_ptr() == other.data_ptr() for one, other in pairs)
    assert agreement.holds
    assert found[1].scratch_bytes <= found[0].scratch_bytes


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--sizes", "64"], "'64' is no size; 1280x768 would do"),
        (["--sizes", "70x64"], "size=70x64 is not a whole number of patches of patch_size=16"),
        (["--rows", "0"], "--rows 0 is below 1"),
    ],
)
def test_what_cannot_work_is_one_line(capsys, words, complaint):
    with pytest.raises(SystemExit) as stopped:
        main(["--small", *words])

    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]
