"""What a run shows in Prefect's UI while it is at work, with a real server."""

from pathlib import Path

from command import Server
from prefect import flow
from prefect.runtime import flow_run
from timed import Clock, released
from waiting import http_client

from flows.show import artifacts
from flows.show.events import Event, tell
from flows.show.forecast import Forecast


def _shown(server: Server, forecast: Forecast, *events: Event) -> tuple[float, str]:
    """Percent and description of the progress artifact, after a run in which these were told."""

    @flow(name="progress", persist_result=False)
    def run() -> str:
        with artifacts.live_progress("toy", forecast):
            for event in events:
                tell(event)
        return str(flow_run.id)

    query = {"artifacts": {"flow_run_id": {"any_": [run()]}}}
    with http_client() as client:
        (found,) = client.post(f"{server.api}/artifacts/filter", json=query).raise_for_status().json()
    return float(found["data"]), found["description"]


def test_progress_shows_the_share_done_and_the_time_left(tmp_path: Path, server: Server) -> None:
    released(tmp_path)
    clock = Clock()
    forecast = Forecast(tmp_path, ["toy"], 2, clock)
    begun = [
        Event("toy", stage, "tflite", variant) for stage in ("waiting", "converting") for variant in ("float32", "int8")
    ]
    assert _shown(server, forecast, *begun) == (
        0.0,
        "toy: converting tflite float32, converting tflite int8; about 12 s left",
    )
    clock.now += 8
    checked = Event("toy", "checking", "tflite", "int8"), Event("toy", "done", "tflite", "int8")
    assert _shown(server, forecast, *checked) == (83.0, "toy: releasing; about 4 s left")


def test_progress_counts_steps_where_nothing_is_known_of_the_time(tmp_path: Path, server: Server) -> None:
    forecast = Forecast(tmp_path, ["toy"], 2)
    begun = Event("toy", "waiting", "hdf5", "model"), Event("toy", "converting", "hdf5", "model")
    assert _shown(server, forecast, *begun) == (40.0, "toy: converting hdf5 model")
    assert _shown(server, forecast, Event("toy", "released")) == (100.0, "toy: released")
