"""`unlatent results`, `runs`, `diff`, `report` and `compact`: what the tables say, and how they are kept."""

import sys
from json import dumps
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from unlatent.platform import display
from unlatent.platform.commands import Overrides

CHANGING = ("runs", "sweeps", "steps", "events")  # tables whose rows may be written again while a run or sweep goes on
ROWS_ON_A_TERMINAL = 50

TableName = Annotated[
    str, typer.Argument(help="runs, steps, events, evaluations, edits, sweeps, pipeline_steps, deployments or rates")
]

commands = typer.Typer()


@commands.command(
    epilog="unlatent results runs --where \"status == 'succeeded'\" --sort forward_gflops --columns run_id,loss\n\n"
    'unlatent results runs --best fid --where "samples == 500" --limit 10'
)
def results(
    table: TableName,
    overrides: Overrides = None,
    where: Annotated[str | None, typer.Option(help="A condition, as pandas' DataFrame.query takes it")] = None,
    sort: Annotated[str | None, typer.Option(help="A column; -column sorts downwards")] = None,
    best: Annotated[
        str | None,
        typer.Option(
            help="A metric, such as fid: `evaluations`, or `runs` by their last checkpoint, the best first; "
            "refused for rows that were measured in different ways"
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(help="With --best, `point`: mean and deviation over runs' seeds")] = None,
    columns: Annotated[str | None, typer.Option(help="Column names, with commas")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Rows; 50 on a terminal and all in exports, unless given")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON, a row a line")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print as CSV")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write as one Parquet file")] = None,
) -> None:
    """Print, filter, sort, rank and export a results table."""
    from unlatent.platform import listing, lost_runs, ranking, tables
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    if best and sort:
        raise ValueError(f"--best {best} puts rows into an order, and so does --sort {sort}; give one of them")
    if by and not best:
        raise ValueError(f"--by {by} needs --best METRIC; --best fid would do")
    store = Store(compose_config(overrides or []).store)
    tables.require_table(table)
    tables.require_results(store)
    lost_runs.mark_lost(store)
    if best:
        ranked = ranking.rank(store, table, best, where, by)
        rows, shown, said = ranked.rows, ranking.shown(table, best, by), ranking.remarks(ranked, best)
    else:
        rows, shown, said = listing.narrow(tables.read(store, table), where, sort, None), listing.SHOWN[table], []
    wanted = columns.split(",") if columns else None
    rows = listing.narrow(rows, None, None, wanted)
    if parquet or json or csv:
        export(rows.head(limit or len(rows)), json, parquet)
        return
    first = rows.head(limit or ROWS_ON_A_TERMINAL)
    title = f"{table} by {best}, the best first" if best else table
    texts = listing.for_terminal(first, wanted or shown.split())
    display.show_table(texts, f"{title}: {len(first)} of {len(rows)} rows")
    for line in said:
        display.say(line)


def export(rows: pd.DataFrame, json: bool, parquet: Path | None) -> None:
    """Into a Parquet file, or as JSON or CSV to where the output goes."""
    if parquet:
        rows.to_parquet(parquet, index=False)
        display.say(f"{len(rows)} rows in {parquet}")
    elif json:
        sys.stdout.write(rows.to_json(orient="records", lines=True, date_format="iso"))
    else:
        rows.to_csv(sys.stdout, index=False)


@commands.command("runs", epilog="unlatent runs store=s3://bucket/store --limit 5")
def runs_(
    overrides: Overrides = None,
    limit: Annotated[int, typer.Option(min=1, help="Runs to print")] = 20,
) -> None:
    """List the runs, those that run and those that have ended, the newest first."""
    from unlatent.platform import listing, lost_runs, progress, tables
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    store = Store(compose_config(overrides or []).store)
    tables.require_results(store)
    lost_runs.mark_lost(store)
    rows = tables.read(store, "runs")
    running = rows["run_id"][rows["status"] == "running"]
    states = {name: state for name in running if (state := progress.latest(store, name))}
    display.show_table(listing.run_texts(rows, states)[:limit], f"{min(limit, len(rows))} of {len(rows)} runs")


@commands.command(epilog="unlatent diff digits-538985de9d digits-ad7f6754bc")
def diff(
    first: Annotated[str, typer.Argument(help="A run's id")],
    second: Annotated[str, typer.Argument(help="Another's")],
    overrides: Overrides = None,
    every: Annotated[bool, typer.Option("--all", help="What is the same in both, too")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON, a row a line")] = False,
) -> None:
    """Compare two runs: the settings that differ, where each comes from, what it cost, and its metrics."""
    from unlatent.platform import comparison, lost_runs, tables
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    store, runs = Store(compose_config(overrides or []).store), (first, second)
    tables.require_results(store)
    lost_runs.mark_lost(store)
    lines = comparison.compare(store, *runs)
    if json:
        rows = [line.as_row() for line in lines if every or line.differs or line.part == "metric"]
        sys.stdout.write("".join(f"{dumps(row)}\n" for row in rows))
        return
    for title, table, remarks in comparison.as_said(lines, runs, every):
        if table:
            display.show_table(table, title)
        for line in remarks if table else [title, *remarks]:
            display.say(line)


@commands.command(epilog="unlatent compact steps")
def compact(
    table: TableName,
    overrides: Overrides = None,
) -> None:
    """Merge a table's many small files into one; readers see every row once, all the while."""
    from unlatent.platform import runs, tables
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    store = Store(compose_config(overrides or []).store)
    tables.require_table(table)
    merged = tables.compact(store, table, runs.finished_files(store, table) if table in CHANGING else None)
    display.say(f"{table}: {merged} files merged")


@commands.command(epilog="unlatent report digits --run train-1a2b3c4d5e --out report.html --png pictures")
def report(
    sweep: Annotated[str | None, typer.Argument(help="A sweep's name; the newest unless given")] = None,
    overrides: Overrides = None,
    run: Annotated[str | None, typer.Option(help="A run to show in full; the sweep's best unless given")] = None,
    out: Annotated[Path | None, typer.Option(help="Copy the report here")] = None,
    png: Annotated[Path | None, typer.Option(help="Write each picture into this folder too, on white")] = None,
) -> None:
    """Write the HTML report of a sweep and a run: one file that needs no other."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.report import chosen_run, newest_sweep, pictures_of, write_report
    from unlatent.platform.store import Store

    given = overrides or []
    if sweep and "=" in sweep:  # an override, in the place of the name
        given, sweep = [sweep, *given], None
    store = Store(compose_config(given).store)
    sweep = sweep or newest_sweep(store)
    run, path = chosen_run(store, sweep, run), f"artifacts/reports/{sweep}.html"
    display.show_table(write_report(store, path, f"unlatent: {sweep}", sweep, run), sweep)
    if out:
        out.write_bytes(store.read_bytes(path))
    if png:
        png.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures_of(store, sweep, run).items():
            (png / f"{name}.png").write_bytes(picture)
    display.say(f"report: {out or store.uri(path)}" + (f"; pictures: {png}" if png else ""))
