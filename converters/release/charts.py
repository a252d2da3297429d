"""pygal, without what it does to imports."""

import sys

import pygal
from pygal.style import Style

# It looks for plug-ins of its own in a way of which Python 3.11 warns at every import that follows, and 3.12 knows nothing.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

__all__ = ["Style", "pygal"]
