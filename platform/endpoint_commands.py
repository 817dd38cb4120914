"""`unlatent serve`, `deploy`, `rollback` and `deployments`: the endpoint, and what answers there."""

import contextlib
import textwrap
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlatent.platform import display
from unlatent.platform.commands import Overrides

if TYPE_CHECKING:
    import pandas as pd

commands = typer.Typer()


@commands.command(epilog="unlatent serve serve.port=8001")
def serve(overrides: Overrides = None) -> None:
    """Open the endpoint and its page on the best checkpoint, until Ctrl-C."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.places import places_of
    from unlatent.platform.rollout import choose_checkpoint, start_endpoint
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    choice = choose_checkpoint(Store(config.store), config.serve.checkpoint, config.serve.metric)
    display.say(f"starting the endpoint on {choice}")
    url = start_endpoint(config, choice, places_of(config, overrides))
    display.say(f"{url} is open: the page at {url}/, the API at {url}/v1/images/generations. Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    display.say("\nthe endpoint is closed")


@commands.command(epilog="unlatent deploy --checkpoint digits-1a2b3c4d5e")
def deploy(
    overrides: Overrides = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Path in the store, or a run's id; the best unless given")
    ] = None,
) -> None:
    """Give the endpoint that runs another checkpoint. It answers all the while, with the one before until then."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.places import AS_TRAINED, places_of
    from unlatent.platform.rollout import choose_checkpoint, roll_out
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    if places_of(config, overrides) != AS_TRAINED:
        raise ValueError("where encoder and autoencoder lie is told to `unlatent serve`, for all that answers there")
    choice = choose_checkpoint(Store(config.store), checkpoint or config.serve.checkpoint, config.serve.metric)
    roll_out(config, choice)
    display.say(f"{choice} answers now; `unlatent rollback` goes back")


@commands.command(epilog="unlatent rollback")
def rollback(overrides: Overrides = None) -> None:
    """Give the endpoint the checkpoint that it had before the rollout that came last."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.rollout import choice_before, roll_out
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    choice = choice_before(Store(config.store))
    roll_out(config, choice)
    display.say(f"{choice} answers again")


@commands.command(epilog="unlatent deployments")
def deployments(overrides: Overrides = None) -> None:
    """What was rolled out, when, and how it went: the last one that is ready is what answers.

    `unlatent results deployments` has all of each row.
    """
    from unlatent.platform import tables
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    rows = tables.read(Store(compose_config(overrides or []).store), "deployments").sort_values("deployed_at")
    display.show_table([as_text(row) for _, row in rows.iterrows()])


def as_text(row: "pd.Series[Any]") -> dict[str, str]:
    import pandas as pd

    known = {name: None if pd.isna(value) else value for name, value in row.items()}
    return {
        "deployed": f"{row['deployed_at']:%Y-%m-%d %H:%M:%S}",
        "status": row["status"],
        "checkpoint": row["checkpoint"],
        "chosen by": f"{row['metric']} {row['value']:.3f}" if known["metric"] else "",
        "ready after": "" if known["ready_after_s"] is None else f"{row['ready_after_s']:.1f} s",
        "error": textwrap.shorten(known["error"] or "", 70, placeholder=" …"),
    }
