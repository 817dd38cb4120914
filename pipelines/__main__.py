"""`unlatent` and `python -m unlatent.pipelines`: runs a command, turns its errors into one line, and ends Ray."""

import atexit
import os
import sys

from unlatent.pipelines import commands
from unlatent.platform import cluster, display
from unlatent.platform.cluster import stop_on_sigterm
from unlatent.platform.commands import StoppedError


def main() -> None:
    """Runs the command that the process was started with, and ends the process.

    C++ libraries are not taken apart: a thread of Arrow's that is just at work would abort that.
    """
    status = run_command()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run_command() -> int:
    """The exit status: 0 done, 1 the work failed, 2 what was asked for cannot work, 130 stopped by Ctrl-C."""
    stop_on_sigterm()
    try:
        commands.app()
    except SystemExit as ended:  # 0, or 2 where the command line cannot be read
        status = int(ended.code or 0)
    except StoppedError:
        display.say("\nstopped; the same command goes on from here")
        status = 130
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        status = 2
    except (RuntimeError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        status = 1
    finally:
        cluster.disconnect()
    return status


if __name__ == "__main__":
    main()
