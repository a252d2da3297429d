"""What is said of addresses and programs repeats no secret."""

import pytest

from converters.contract import secrets


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://KEY:SECRET@bucket/folder", "s3://bucket/folder"),
        ("https://host:8443/a?token=SECRET#SECRET", "https://host:8443/a"),
        ("http://[::1", "(no URL)"),
        ("/mnt/shared", "/mnt/shared"),
    ],
)
def test_shown_leaves_out_what_may_be_secret(url: str, said: str) -> None:
    assert secrets.shown(url) == said


def test_hidden_names_variables_whose_names_say_that_they_are_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FANOUT_ANY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, f"value of {name}")
    monkeypatch.setenv("SHELL", "value of SHELL")
    monkeypatch.setenv("FANOUT_SHORT", "e")
    text = "value of FANOUT_ANY, value of AWS_SECRET_ACCESS_KEY, value of HF_TOKEN, value of SHELL"
    assert secrets.hidden(text, secrets.of_environment()) == (
        "$FANOUT_ANY, $AWS_SECRET_ACCESS_KEY, $HF_TOKEN, value of SHELL"
    )


def test_hidden_replaces_the_longer_first_when_one_secret_begins_another() -> None:
    assert secrets.hidden("abcdefgh", {"$A": "abcd", "$B": "abcdefgh"}) == "$B"
