"""The program ``secateur``, which the package installs."""

from __future__ import annotations

import signal
import sys

from . import _secateur


def main() -> int:
    """Runs the command line, and returns its exit code: 0 done, 1 an honest no, 2 an error."""
    # Python's handler would wait for the library to return; the program handles Ctrl-C itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _secateur.main(["secateur", *sys.argv[1:]])
