"""What the environment says, and what is wrong with it."""

import pytest

from converters.contract.errors import BadInput
from flows.settings import Settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FANOUT_KEEP_DAYS", "-1"),
        ("FANOUT_KEEP_DAYS", "inf"),
        ("FANOUT_KEEP_DAYS", "soon"),
        ("FANOUT_DASK_PATIENCE", "x"),
    ],
)
def test_read_names_the_variable_and_what_it_is_when_it_is_wrong(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadInput, match=f"^{variable}={value}: input should be "):
        Settings.read()


def test_names_are_those_between_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT_HOSTS", " a.example,, b.example ")
    assert Settings.read().names() == ["a.example", "b.example"]
    monkeypatch.delenv("FANOUT_HOSTS")
    assert Settings.read().names() == []
