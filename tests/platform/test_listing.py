import pandas as pd
import pytest

from unlatent.platform.listing import for_terminal
from unlatent.platform.schemas import TABLES


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_columns_to_show_that_are_its_own(table):
    empty = TABLES[table].schema.empty_table().to_pandas()
    row = pd.DataFrame([dict.fromkeys(empty.columns)])

    [shown] = for_terminal(row, table, chosen=False)

    assert shown and set(shown.values()) == {""}
