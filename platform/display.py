"""What one sees on a terminal while work runs; plain lines where there is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from unlatent.platform.progress import Every, Progress, duration, latest
from unlatent.platform.store import Store

console = Console(highlight=False, soft_wrap=True)
PLAIN_LINES_EVERY_S = 10.0
SPEAKER: ContextVar[str | None] = ContextVar("speaker", default=None)


def say(text: str) -> None:
    """Prints lines, one call's together; where several speak at once, each line names who does."""
    speaker = SPEAKER.get()
    console.print("\n".join(f"{speaker} | {line}" for line in text.splitlines()) if speaker else text, markup=False)


@contextmanager
def speaking_as(name: str) -> Iterator[None]:
    """Has every line that is said in the block begin with a name: for what is done beside other things."""
    token = SPEAKER.set(name)
    try:
        yield
    finally:
        SPEAKER.reset(token)


def has_the_screen() -> bool:
    """Whether bars and tables may be drawn in place: on a terminal, by who speaks alone."""
    return console.is_terminal and SPEAKER.get() is None


@contextmanager
def training_bar(store: Store, run_id: str) -> Iterator[None]:
    """Shows a run's progress while the block runs, by what the run writes into the store."""
    if not has_the_screen():
        with Every(0.5, line_printer(store, run_id)):
            yield
        return
    bar = Bar(TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[state]}"))
    task, figures = bar.add_task(run_id, total=None, state="starting"), Text()
    said: set[str] = set()
    with Live(Group(bar, figures), console=console, refresh_per_second=2):

        def refresh() -> None:
            if state := latest(store, run_id):
                say_once(state.warnings, said)
                bar.update(task, total=state.total_images, completed=state.images_seen, state=how_far(state))
                figures.plain = f"  {describe(state)}"

        with Every(0.5, refresh):
            yield


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function to be told how many are done, of how many; it shows that, with the rate and what is left."""
    started, shown = time.monotonic(), [time.monotonic()]
    bar = Bar(TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[state]}"))
    task = bar.add_task(what, total=None, state="")

    def tell(done: int, total: int) -> None:
        rate = done / (time.monotonic() - started)
        state = f"{done:,} of {total:,} {what}, {rate:,.0f} a second, {duration((total - done) / rate)} left"
        bar.update(task, total=total, completed=done, state=state)
        if not has_the_screen() and time.monotonic() - shown[0] > PLAIN_LINES_EVERY_S:
            shown[0] = time.monotonic()
            say(state)

    if not has_the_screen():
        yield tell
        return
    with Live(bar, console=console, refresh_per_second=2):
        yield tell


def say_once(lines: list[str], said: set[str]) -> None:
    for line in lines:
        if line not in said:
            said.add(line)
            say(line)


def how_far(state: Progress) -> str:
    return f"{state.images_seen:,} of {state.total_images:,} images"


def describe(state: Progress) -> str:
    """How a run is doing, in some 80 characters."""
    left = "done" if state.images_seen >= state.total_images else f"{duration(state.seconds_left)} left"
    figures = (
        f"{state.images_seen / state.total_images:.0%}",
        left,
        f"{state.images_per_s:,.0f} images/s",
        f"loss {state.loss:.4f}",
        f"norm {state.grad_norm:.2g}",
        f"wait {state.data_wait_share:.0%}",
        f"MFU {state.mfu:.0%}",
        f"{state.memory_bytes / 1e9:.2g} GB",
    )
    return "  ".join(figures)


def line_printer(store: Store, run_id: str) -> Callable[[], None]:
    """Prints a run's progress when it has moved, not more often than every few seconds, and when it is done."""
    shown: dict[str, Any] = {"state": latest(store, run_id), "at": 0.0}
    said: set[str] = set()

    def print_line() -> None:
        state = latest(store, run_id)
        if state is None or state == shown["state"]:
            return
        say_once(state.warnings, said)
        ends = state.images_seen >= state.total_images
        if ends or time.monotonic() - shown["at"] > PLAIN_LINES_EVERY_S:
            shown.update(state=state, at=time.monotonic())
            say(f"{run_id}: {describe(state)}")

    return print_line


@contextmanager
def live_table(make: Callable[[], list[dict[str, str]]], title: str) -> Iterator[None]:
    """Shows a table that is made anew twice a second; without a terminal, a line whenever a row's status changes.

    `make` gives the rows as texts by column; the first column names the row and `status` its state.
    """
    if not has_the_screen():
        with Every(0.5, change_printer(make)):
            yield
        return
    live = Live(console=console, auto_refresh=False, transient=True)
    room = max(3, console.height - 6)  # lines, beside the table's own

    def show() -> None:
        rows = make()
        more = f" (and {len(rows) - room} more)" if len(rows) > room else ""
        live.update(text_table(rows[:room], title + more), refresh=True)

    with live, Every(0.5, show):
        yield


def change_printer(make: Callable[[], list[dict[str, str]]]) -> Callable[[], None]:
    shown: dict[str, str] = {}

    def print_changes() -> None:
        for row in make():
            name = next(iter(row.values()))
            if shown.get(name, "waiting") != row["status"]:
                say("  ".join(f"{column} {text}" for column, text in row.items() if text))
            shown[name] = row["status"]

    return print_changes


def text_table(rows: list[dict[str, str]], title: str = "") -> Table:
    table = Table(title=title or None, title_justify="left", header_style="bold", show_lines=False)
    for column in rows[0] if rows else []:
        numeric = all(is_number(row[column]) for row in rows if row[column])
        whole = max(len(row[column]) for row in rows) if numeric else None  # of numbers, no terminal cuts any
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True, min_width=whole)
    for row in rows:
        table.add_row(*row.values())
    return table


def is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("-", "").replace("e", "").isdigit()


def as_lines(rows: list[dict[str, str]]) -> str:
    """A table as plain text, to be kept and said again."""
    columns = list(rows[0]) if rows else []
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    lines = [dict(zip(columns, columns, strict=True)), *rows]
    return "\n".join("  ".join(line[name].ljust(widths[name]) for name in columns).rstrip() for line in lines)


def show_table(rows: list[dict[str, str]], title: str = "") -> None:
    target = Console(highlight=False, width=None if console.is_terminal else 200)
    if SPEAKER.get() is None:
        target.print(text_table(rows, title))
        return
    with target.capture() as captured:
        target.print(text_table(rows, title))
    say(captured.get())
