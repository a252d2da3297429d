"""A server that speaks S3, in a process of its own, and what was asked of it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from waiting import wait_until


class S3:
    """A running server with one empty bucket, which `environment` leads s3:// to."""

    bucket = "fanout"

    def __init__(self, address: str, log: Path) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._log = log

    def puts(self) -> list[str]:
        """The keys that were written, in order; each is logged before it is answered."""
        return re.findall(rf'"PUT /{self.bucket}/(\S+) HTTP/1.1" 200', self._log.read_text())


@contextmanager
def running(folder: Path) -> Iterator[S3]:
    """Start it on a free port of the loopback; s3:// leads there in the block, in this process and its children."""
    log = folder / "s3.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or "Running on" in log.read_text())
        found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text())
        assert found, log.read_text()
        server = S3(found[1], log)
        with mock.patch.dict(os.environ, server.environment):
            import s3fs

            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir(S3.bucket)
            yield server
    finally:
        process.terminate()
        process.wait(60)
