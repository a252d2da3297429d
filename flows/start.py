"""The console script: the command line, in Python's UTF-8 mode (PEP 540).

Configs, reports, logs and what libraries read and write are UTF-8, whatever the terminal's locale is.
"""

import codecs
import io
import locale
import os
import sys

_MODE, _STREAMS = "PYTHONUTF8", "PYTHONIOENCODING"


def main() -> None:
    """Run `fanout`, after starting Python anew where it would read and write files in another encoding."""
    if codecs.lookup(locale.getpreferredencoding(False)).name != "utf-8":
        # What a person sees stays as the terminal has it.
        streams = os.environ.get(_STREAMS) or f"{sys.stdout.encoding}:replace"
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, {**os.environ, _MODE: "1", _STREAMS: streams})
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a sign that the terminal does not have ends nothing
    from flows import cli

    cli.main()
