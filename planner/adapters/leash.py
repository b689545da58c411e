"""Run a command that dies with its parent, whatever ends the parent, SIGKILL included.

A program of its own: ``python -I -S leash.py PARENT COMMAND…`` becomes the command. The kernel sends the signal
(Linux, ``PR_SET_PDEATHSIG``); elsewhere the command runs without a leash. Code between fork and exec would do the
same without a program, and may deadlock in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def main(parent: int, command: list[str]) -> None:
    """Put this process on the leash of ``parent`` and become ``command``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the leash was on
        sys.exit("the process that wanted this is gone")
    try:
        os.execvp(command[0], command)
    except OSError as problem:
        sys.exit(f"{command[0]}: {problem.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
