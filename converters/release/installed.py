"""What is installed where this runs, by the names of metadata's directories alone: reading them all takes half a second."""

import os
import sysconfig
from pathlib import Path


def distributions() -> list[str]:
    """Every installed distribution, as NAME-VERSION, by the names of their metadata's directories (PEP 376)."""
    more = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *more}
    return sorted({path.stem for place in places for path in Path(place).glob("*.dist-info")})
