import io
import json
import time
from dataclasses import replace

import pytest
from rich.console import Console

from unlatent.platform import display, progress
from unlatent.platform.outages import OutageError
from unlatent.platform.progress import Progress

FAR = Progress(
    images_seen=128_000_000,
    total_images=409_600_000,
    loss=0.41812,
    images_per_s=12_345.6,
    grad_norm=0.5234,
    data_wait_share=0.034,
    mfu=0.412,
    memory_bytes=38_200_000_000,
)


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    """What a terminal of 100 columns is sent."""
    sent = io.StringIO()
    monkeypatch.setattr(display, "console", Console(file=sent, force_terminal=True, width=100, highlight=False))
    return sent


def test_a_run_says_how_it_is_doing_within_a_hundred_columns():
    said = display.describe(FAR)

    assert said == "31%  6:20:09 left  12,346 images/s  loss 0.4181  norm 0.52  wait 3%  MFU 41%  38 GB"
    assert len(f"train-1a2b3c4d5e: {said}") <= 101


def test_the_bar_and_the_figures_below_it_fit_a_terminal_of_a_hundred_columns(store, terminal):
    progress.publish(store, "train-1a2b3c4d5e", FAR)

    with display.training_bar(store, "train-1a2b3c4d5e"):
        time.sleep(0.6)

    shown = terminal.getvalue()
    assert "128,000,000 of 409,600,000 images" in shown and display.describe(FAR) in shown
    assert "…" not in shown, "nothing is cut off"


def test_without_a_terminal_a_run_is_a_line_when_it_is_done_and_one_for_what_fails(store, capsys):
    done = replace(FAR, images_seen=FAR.total_images, warnings=["mine: a tracker fails"])

    with display.training_bar(store, "mine"):
        progress.publish(store, "mine", done)

    assert capsys.readouterr().out.splitlines() == ["mine: a tracker fails", f"mine: {display.describe(done)}"]
    assert display.describe(done).startswith("100%  done  12,346 images/s")


def test_progress_as_an_earlier_release_wrote_it_is_passed_over(store):
    earlier = {"images_seen": 5, "total_images": 10, "loss": 0.5, "images_per_s": 1.0}
    store.write_bytes(progress.path("mine"), json.dumps(earlier).encode())

    assert progress.latest(store, "mine") is None


def test_a_store_that_does_not_answer_ends_no_display(store, monkeypatch):
    def away(path):
        raise OutageError("it has not answered for 120 s")

    monkeypatch.setattr(store, "read_bytes", away)

    assert progress.latest(store, "mine") is None


def test_a_table_that_is_too_wide_cuts_texts_and_headings_and_no_numbers(terminal):
    names = ["run_id", "fid", "patch_size_of_the_network", "window_of_its_compaction", "forward_gflops", "status"]
    cells = ["a-long-name-of-a-run-0123456789", "47.01", "4", "2", "0.004281", "stopped_early"]

    display.console.print(display.text_table([dict(zip(names, cells, strict=True))]))

    said = terminal.getvalue()
    assert "47.01" in said and "0.004281" in said
    assert "a-long-name-of-a-run-0123456789" not in said and "window_of_its_compaction" not in said


def test_who_speaks_beside_others_is_named_on_every_line_and_draws_nothing_in_place(store, terminal):
    with display.speaking_as("left"):
        display.say("one\ntwo")
        display.show_table([{"metric": "fid", "value": "1.5"}])
        with display.training_bar(store, "mine"):
            progress.publish(store, "mine", replace(FAR, images_seen=FAR.total_images))
    display.say("alone")

    *lines, last = terminal.getvalue().splitlines()
    assert lines[:2] == ["left | one", "left | two"] and last == "alone"
    assert all(line.startswith("left | ") for line in lines) and any("fid" in line for line in lines)
    assert any(line.startswith("left | mine: 100%  done") for line in lines), "its threads speak as it does"
