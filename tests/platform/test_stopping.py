"""SIGTERM stops a command as Ctrl-C does."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys
from unlatent.platform.cluster import stop_on_sigterm

signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
stop_on_sigterm()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    print("goes on")
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("ctrl_c", ["default_int_handler", "SIG_IGN"])  # the second: behind a script's shell
def test_sigterm_stops_a_command_whether_or_not_ctrl_c_would(ctrl_c):
    done = subprocess.run([sys.executable, "-c", SCRIPT, ctrl_c], capture_output=True, text=True, check=True)

    assert done.stdout == "stopped\n"
