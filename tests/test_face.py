"""What `converters` offers by its own name."""

import subprocess
import sys
from pathlib import Path

import pytest
import samples

import converters


@pytest.mark.parametrize("name", converters.__all__)
def test_every_name_resolves(name: str) -> None:
    assert getattr(converters, name) is not None


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        converters.absent  # noqa: B018


def test_import_is_light() -> None:
    code = "import sys, converters.contract.errors; print(sorted(name for name in sys.modules if '.' not in name))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "pydantic", "yaml"} & set(eval(loaded))


@pytest.mark.tensorflow
def test_the_docstring_deploys_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("configs", "release", "work"):
        (tmp_path / folder).mkdir()
    samples.write_spec(tmp_path / "configs", samples.MODULE, name="digits", targets={"hdf5": {}})
    example = [line[4:] for line in str(converters.__doc__).splitlines() if line.startswith("    ")]
    exec("\n".join(example), {"converters": converters, "Path": Path})
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["saved_model", "default"],
        ["saved_model", "default"],
        ["hdf5", "weights"],
    ]
