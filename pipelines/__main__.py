"""`unlatent` and `python -m unlatent.pipelines`: runs a command, turns its errors into one line, and ends Ray."""

import sys

import click
import typer

from unlatent.pipelines import commands
from unlatent.platform import cluster, display


def main() -> None:
    """Exit status: 0 done, 1 the work failed, 2 what was asked for cannot work, 130 stopped by Ctrl-C."""
    try:
        status = typer.main.get_command(commands.app)(standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        display.say("\nstopped; the same command goes on from here")
        status = 130
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        status = 2
    except RuntimeError as error:
        sys.stderr.write(f"error: {error}\n")
        status = 1
    finally:
        if "ray" in sys.modules:
            cluster.disconnect()
    sys.exit(status)


if __name__ == "__main__":
    main()
