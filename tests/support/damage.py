"""Ways to break a file, whatever it holds."""

from pathlib import Path


def flip(path: Path, old: bytes) -> None:
    """Flip the top bit of the exponent of the first float32 of `old` (little-endian), found in the file once."""
    content = bytearray(path.read_bytes())
    assert content.count(old) == 1, f"{path.name} holds {content.count(old)} copies of it"
    content[content.index(old) + 3] ^= 0x40
    path.write_bytes(content)


def truncate(path: Path, share: float = 0.5) -> None:
    """Keep the first part of the file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
