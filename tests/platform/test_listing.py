from datetime import timedelta

import pandas as pd
import pytest

from unlatent.platform.listing import SHOWN, for_terminal, run_texts
from unlatent.platform.progress import Progress
from unlatent.platform.schemas import TABLES


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_columns_to_show_that_are_its_own(table):
    empty = TABLES[table].schema.empty_table().to_pandas()
    row = pd.DataFrame([dict.fromkeys(empty.columns)])

    [shown] = for_terminal(row, SHOWN[table].split())

    assert shown and set(shown.values()) == {""}


def test_runs_are_told_the_newest_first_and_a_running_one_by_what_it_last_said(row_of, noon):
    ended = {"images_seen": 256, "total_images": 256, "loss": 0.5, "images_per_s": 1234.5, "host": "one"}
    begun = {"images_seen": 0, "total_images": 1000, "host": "two"}
    rows = pd.DataFrame(
        [
            row_of("runs", run_id="old", status="succeeded", started_at=noon, **ended),
            row_of("runs", run_id="new", status="running", started_at=noon + timedelta(hours=1), **begun),
            row_of("runs", run_id="gone", status="lost", started_at=noon - timedelta(hours=1), **begun),
        ]
    )
    state = Progress(400, 1000, 0.25, 10.0, 1.0, 0.0, 0.2, 10**9)

    new, old, gone = run_texts(rows, {"new": state, "gone": state})

    assert (new["run"], new["images"], new["%"], new["loss"]) == ("new", "400 of 1,000", "40", "0.25")
    assert (new["images/s"], new["left"], new["started"]) == ("10", "1:00", "2026-01-01 13:00:00")
    assert (old["status"], old["images"], old["images/s"], old["left"]) == ("succeeded", "256 of 256", "1,234", "")
    assert (gone["status"], gone["%"], gone["loss"], gone["left"], gone["host"]) == ("lost", "0", "", "", "two")
