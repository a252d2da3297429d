"""What a deploy still needs, by what the current release took; with a clock of the test's own."""

from pathlib import Path

import pytest
from rich.console import Console
from timed import Clock, released

from flows.show.events import Event
from flows.show.forecast import Forecast
from flows.show.progress import Progress


def _of(releases: Path, *models: str) -> tuple[Forecast, Clock]:
    clock = Clock()
    return Forecast(releases, models, 2, clock), clock


def test_forecast_counts_down_by_what_the_current_release_took(tmp_path: Path) -> None:
    released(tmp_path)
    forecast, clock = _of(tmp_path, "toy")
    forecast(Event("toy", "building"))
    assert forecast.ahead() == (0.0, 12 + 24 / 2)
    clock.now += 10
    forecast(Event("toy", "exporting"))
    clock.now += 2
    for variant in ("float32", "int8"):
        forecast(Event("toy", "waiting", "tflite", variant))
    forecast(Event("toy", "converting", "tflite", "float32"))
    forecast(Event("toy", "converting", "tflite", "int8"))
    assert forecast.ahead() == (pytest.approx(12 / 36), 12.0)
    clock.now += 8
    forecast(Event("toy", "checking", "tflite", "float32"))
    forecast(Event("toy", "checking", "tflite", "int8"))
    clock.now += 1
    forecast(Event("toy", "done", "tflite", "float32"))
    assert forecast.ahead() == (pytest.approx(33 / 36), 3.0)
    clock.now += 100  # longer than ever before
    assert forecast.ahead() == (1.0, 0.0)


def test_forecast_leaves_out_what_is_kept_or_not_asked_for(tmp_path: Path) -> None:
    released(tmp_path)
    forecast, _ = _of(tmp_path, "toy")
    forecast(Event("toy", "done", "tflite", "float32"))  # copied from the current release, as the source is
    forecast(Event("toy", "waiting", "hdf5", "model"))  # not in it: as long as the others in the mean
    forecast(Event("toy", "converting", "hdf5", "model"))
    assert forecast.ahead() == (0.0, 12.0)


def test_forecast_shares_the_places_when_several_models_are_made(tmp_path: Path) -> None:
    released(tmp_path)
    released(tmp_path, "other")
    forecast, _ = _of(tmp_path, "toy", "other")
    assert forecast.ahead() == (0.0, 36.0)
    forecast(Event("other", "unchanged"))
    assert forecast.ahead() == (0.0, 18.0)


@pytest.mark.parametrize("harm", ["", "no manifest"])
def test_forecast_says_nothing_when_a_model_has_no_release_that_can_be_read(tmp_path: Path, harm: str) -> None:
    released(tmp_path)
    models = ["toy"]
    if harm:
        (tmp_path / "toy" / "1" / "manifest.json").write_text(harm)
    else:
        models.append("new")
    forecast, _ = _of(tmp_path, *models)
    assert forecast.ahead() is None
    forecast(Event("new", "building"))
    assert forecast.ahead() is None


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_shows_the_share_done_and_the_time_left(tmp_path: Path, terminal: bool) -> None:
    released(tmp_path)
    forecast, clock = _of(tmp_path, "toy")
    with open(tmp_path / "shown", "w+") as shown:
        with Progress(Console(file=shown, force_terminal=terminal, width=100), forecast) as progress:
            for variant in ("float32", "int8"):
                progress(Event("toy", "waiting", "tflite", variant))
                progress(Event("toy", "converting", "tflite", variant))
            clock.now += 8
            progress(Event("toy", "checking", "tflite", "int8"))
            progress(Event("toy", "done", "tflite", "int8"))
        shown.seek(0)
        assert "83%, about 4 s left" in shown.read()
