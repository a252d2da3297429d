"""Starting programs that end with this process."""

import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def bound(command: Sequence[str]) -> list[str]:
    """The command, made to end with the thread of this process that starts it (Linux only).

    Between fork and exec of a process with threads only C may run safely, so a small Python makes the prctl call and
    then becomes the program.
    """
    if sys.platform != "linux":
        return list(command)
    launch = (
        f"import ctypes, os, sys; ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}); "
        "os.getppid() == int(sys.argv[1]) or sys.exit('parent ended'); os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-I", "-S", "-c", launch, str(os.getpid()), *command]
