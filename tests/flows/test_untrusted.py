"""What a person sees of a model that they should not trust; and that their word, and only that, has it run."""

import io
import json
from pathlib import Path

import hostile
import pytest
from command import Fanout

from converters.config.spec import ModelSpec
from converters.release import report
from converters.release.manifest import Manifest
from flows.show.tables import ManifestTable, complaint
from flows.show.terminal import Terminal

NASTY = "\x1b[2J\x1b]0;owned\x07 [bold red]not red[/] <script>alert(1)</script> \u202egnp.exe"


def manifest(text: str) -> Manifest:
    row = {"target": "tflite", "variant": "float32", "signature": text, "status": "failed", "reason": text}
    check = {"name": "values", "runtime": text, "status": "failed", "detail": text, "output": text}
    source = {"kind": "module", "digest": "d", "signatures": {text: {"inputs": {}, "outputs": {}}}}
    return Manifest.model_validate(
        {"model": "m", "version": 1, "status": "failed", "created": "now", "seconds": 1, "source": source,
         "environment": {}, "targets": [{**row, "checks": [check]}], "refusals": [text], "notes": [text]}
    )  # fmt: skip


@pytest.mark.parametrize("colour", [True, False])
def test_terminal_shows_what_a_model_says_as_text(colour: bool) -> None:
    shown = io.StringIO()
    terminal = Terminal(file=shown, width=200, force_terminal=colour, color_system="standard" if colour else None)
    terminal.print(ManifestTable(manifest(NASTY)))
    terminal.print(complaint(ValueError(NASTY)))
    terminal.print(NASTY)
    assert "\\x1b[2J" in shown.getvalue()
    assert "[bold red]not red[/]" in shown.getvalue()
    assert "\x1b[2J" not in shown.getvalue()
    assert "\x07" not in shown.getvalue()
    assert "\u202e" not in shown.getvalue()
    assert ("\x1b[" in shown.getvalue()) == colour  # the terminal's own


def test_report_shows_what_a_model_says_as_text(tmp_path: Path) -> None:
    page = report.render(manifest(NASTY), ModelSpec(name="m", model="m.py:f", description=NASTY), {}, tmp_path)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("model", ["../other", "/etc", "a/b", "-x", "\x1b[31m", "n" * 300, ""])
@pytest.mark.parametrize("command", [["releases"], ["promote", "1"], ["rollback"], ["prune", "--keep", "1"]])
def test_commands_refuse_a_name_that_is_no_models(
    command: list[str], model: str, tmp_path: Path, fanout: Fanout
) -> None:
    for version in ("1", "2"):
        (tmp_path / "other" / version).mkdir(parents=True)
    (tmp_path / "releases").mkdir()
    name, *options = command
    said = [*options, "--", model] if name == "prune" else ["--", model, *options]
    ran = fanout(name, *said, releases=tmp_path / "releases")
    assert ran.status == 2
    assert "Traceback" not in ran.err
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["1", "2"]


def test_deploy_and_check_run_what_came_with_a_model_only_when_told(tmp_path: Path, fanout: Fanout) -> None:
    marker, root = tmp_path / "marker", tmp_path / "releases"
    model = hostile.saved_model(tmp_path / "m", hostile.writes(marker), after=["written"])
    refused = fanout("deploy", model, "--targets", "saved_model", releases=root)
    assert refused.status == 2
    assert "WriteFile (node written) writes files" in " ".join(refused.err.split())
    assert not marker.exists()
    assert not (root / "m").exists() or not any(path.name.isdigit() for path in (root / "m").iterdir())

    done = fanout("deploy", model, "--targets", "saved_model", "--trust-code", "--json", releases=root)
    assert done.status == 0, done.err
    assert marker.exists()
    assert "trust_code" not in json.loads((root / "m" / "1" / "config.json").read_text())
    assert "--trust-code" in (root / "m" / "1" / "logs" / "build.log").read_text()
    marker.unlink()
    again = fanout("deploy", model, "--targets", "saved_model", releases=root)  # not even where nothing has changed
    assert again.status == 2
    unasked = fanout("check", root / "m" / "1", releases=root)
    assert unasked.status == 2
    assert "--trust-code" in unasked.err
    assert not marker.exists()
    assert fanout("check", root / "m" / "1", "--trust-code", releases=root).status == 0
    assert marker.exists()
