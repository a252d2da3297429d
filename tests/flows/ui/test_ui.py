"""The UI, the API, the schedule and the worker of `fanout ui`, with a real server and a real browser."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version as version_of
from pathlib import Path

import httpx
import pytest
import samples
from prefect_home import Home, at_home, free_port, launch
from waiting import PATIENCE_SECONDS, alive, http_client, wait_until

from converters.release import manifest

pytestmark = pytest.mark.server

TARGETS = ["tflite", "tfjs", "hdf5", "serving"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with at_home(tmp_path_factory.mktemp("home")) as running:
        yield running


def _rows(home: Home, run_id: str, model: str) -> list[tuple[str, str, str]]:
    """Target, variant, and what the link to the row's checks reads."""
    rows = home.artifacts(run_id)[f"{model}-rows"]
    return [(row["target"], row["variant"], row["status"].removeprefix("[").partition("]")[0]) for row in rows]


def test_form_offers_choices_and_its_run_shows_every_row_when_submitted_in_a_browser(home: Home) -> None:
    deployment = home.deployment("deploy-model")["id"]
    done = home.browse("submit", deployment, "tiny", "tflite", "hdf5")
    assert done["form"]["model"]["choices"] == ["clock", "holding", "inexact", "module", "tiny"]
    assert done["form"]["targets"]["choices"] == TARGETS
    assert done["form"]["targets"]["multiple"]
    assert (done["form"]["force"]["on"], done["form"]["promote"]["on"]) == ("false", "true")
    assert all(len(field["description"]) > 15 for field in done["form"].values())
    run_id = done["id"]
    run = home.wait(run_id)
    assert (run["name"], run["state"]["type"]) == ("deploy tiny", "COMPLETED"), home.logs(run_id)
    version = (home.releases / "tiny" / "current").resolve().name
    assert run["state"]["message"] == f"tiny {version} was promoted"
    assert _rows(home, run_id, "tiny") == [
        ("saved_model", "", "✓ passed"),
        ("tflite", "float32", "✓ passed"),
        ("hdf5", "model", "✓ passed"),
    ]
    named = ("build", "export", "release", "tflite float32", "check tflite float32", "hdf5 model", "saved_model")
    tasks = home.tasks(run_id, *(f"tiny {version}: {name}" for name in named))
    assert {f"tiny {version}: {name}" for name in named} <= set(tasks)
    assert set(tasks.values()) == {"Completed"}
    assert not [line for line in home.logs(run_id) if "Finished in state Completed" in line and "promoted" not in line]
    artifacts = home.artifacts(run_id)
    assert artifacts["tiny-progress"] == 100
    report = artifacts["tiny-report"]
    address = f"{home.address}/releases/tiny/{version}/report.html"
    assert f"({address})" in report
    assert [row["status"] for row in artifacts["tiny-rows"]] == [f"[✓ passed]({address}#row-{n})" for n in range(3)]
    ids = {a["key"]: a["id"] for a in home.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run_id]}})}
    paths = [f"/artifacts/artifact/{ids['tiny-rows']}", f"/artifacts/artifact/{ids['tiny-report']}"]
    page = f"/releases/tiny/{version}/report.html"
    others = ("/blocks/catalog", "/work-pools/work-pool/fanout", "/v2/dashboard")
    shown = dict.fromkeys(paths, ("float32", "hdf5", "✓ passed", "/ 1e-4", "kB", "ms", "dB"))
    shown[f"/runs/flow-run/{run_id}"] = ("deploy tiny", "Completed")
    shown[page] = (manifest.read(home.releases / "tiny" / version).source.digest,)
    read = home.browse("read", json.dumps({**shown, **dict.fromkeys(others, ())}))
    for path, every in shown.items():
        assert [words for words in every if words not in read["shown"][path]] == []
    # Prefect's own pages would ask for logos and report the visit; the policy must have kept them from it.
    assert (done["foreign"], read["foreign"]) == ([], [])
    assert read["refused"] > 0


def test_runs_can_be_submitted_while_the_server_writes_much_else(home: Home) -> None:
    deployment = home.deployment("promote")["id"]
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2999-01-01T00:00:00Z"}}

    def submit(number: int) -> int:
        document = {"name": f"later {number}", "parameters": {"model": "tiny"}, "state": later}
        path = f"{home.address}/api/deployments/{deployment}/create_flow_run"
        with http_client() as client:
            made = client.post(path, json=document, headers=home.headers())
            if made.is_success:
                client.delete(f"{home.address}/api/flow_runs/{made.json()['id']}", headers=home.headers())
        return made.status_code

    with ThreadPoolExecutor(12) as many:
        assert set(many.map(submit, range(120))) == {201}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"model": "tinny"}, ["'model'", "'tinny'", "'tiny'", "'module'"]),
        ({"model": "tiny", "targets": ["tflight"]}, ["targets", "'tflight'", "'tflite'"]),
        ({"model": "tiny", "target": ["tflite"]}, ["'target' was unexpected"]),
        ({}, ["'model' is a required property"]),
    ],
)
def test_api_refuses_with_409_when_a_parameter_is_wrong(home: Home, parameters: object, said: list[str]) -> None:
    path = f"deployments/{home.deployment('deploy-model')['id']}/create_flow_run"
    answer = httpx.post(f"{home.address}/api/{path}", json={"parameters": parameters})
    assert answer.status_code == 409
    for words in said:
        assert words in answer.json()["detail"]


def test_run_fails_with_one_sentence_when_validation_was_switched_off(home: Home) -> None:
    path = f"deployments/{home.deployment('deploy-model')['id']}/create_flow_run"
    run_id = home.ask(path, parameters={"model": "tinny"}, enforce_parameter_schema=False)["id"]
    state = home.wait(run_id)["state"]
    assert state["type"] == "FAILED"
    assert "there is no model 'tinny'" in state["message"]
    assert "did you mean 'tiny'?" in state["message"]
    assert "Traceback" not in "".join(home.logs(run_id)) + home.said()


def test_deploy_all_promotes_the_others_and_tells_whom_it_should_when_one_of_three_is_wrong(home: Home) -> None:
    run_id = home.start("deploy-all", models=["module", "inexact", "clock"], force=True)
    state = home.wait(run_id)["state"]
    assert state["type"] == "FAILED"
    assert state["message"].startswith("1 of 3 failed: inexact 1 was refused: tflite int8 serving_default failed")
    assert (home.releases / "module" / "current").is_symlink()
    assert (home.releases / "clock" / "current").is_symlink()
    assert not (home.releases / "inexact" / "current").is_symlink()
    (posted,) = [document for document in home.posted if document["model"] == "inexact"]
    assert posted == json.loads((home.folder / "told.json").read_text())
    assert (posted["version"], posted["state"]) == (1, "Failed")
    assert posted["message"] in state["message"]
    assert [(row["row"], row["status"]) for row in posted["rows"]] == [("tflite int8 serving_default", "failed")]
    assert httpx.get(posted["report"]).status_code == 200


def test_run_is_marked_crashed_and_can_be_retried_when_its_worker_is_killed(home: Home) -> None:
    run_id = home.hold_a_conversion()
    orphans = home.working()
    killed = home.worker()
    killed.kill()
    state = home.wait(run_id)["state"]
    assert state["type"] == "CRASHED", state
    wait_until(lambda: not any(alive(process.pid) for process in orphans))
    assert "Running" not in home.tasks(run_id).values()
    home.hold.unlink()
    home.ask(f"flow_runs/{run_id}/set_state", state={"type": "SCHEDULED", "name": "AwaitingRetry"})
    again = home.wait(run_id)["state"]
    assert again["type"] == "COMPLETED", (again, home.logs(run_id))
    assert not list((home.releases / "holding").glob(".staging*"))


def test_cancel_ends_every_process_and_leaves_no_trace_when_pressed_in_the_ui(home: Home) -> None:
    if not (home.releases / "holding" / "current").exists():  # the test above has made one
        home.wait(home.start("deploy-model", model="holding", force=True))
    current = (home.releases / "holding" / "current").resolve(strict=True)
    before = sorted(path.name for path in (home.releases / "holding").iterdir())
    run_id = home.hold_a_conversion()
    doomed = home.holding()
    assert len(doomed) >= 3  # the fork server, the conversion, and what it started
    assert any(path.name.startswith(".staging") for path in (home.releases / "holding").iterdir())
    done = home.browse("cancel", run_id)
    wait_until(lambda: not any(alive(process.pid) for process in doomed))
    assert done["foreign"] == []
    assert home.wait(run_id)["state"]["type"] == "CANCELLED"
    assert "Failed" not in home.tasks(run_id).values()
    assert sorted(path.name for path in (home.releases / "holding").iterdir()) == before
    assert (home.releases / "holding" / "current").resolve() == current


def test_operations_follow_each_other_when_started_over_the_api(home: Home) -> None:
    assert (
        home.wait(home.start("deploy-model", model="module", force=True, promote=False))["state"]["type"] == "COMPLETED"
    )
    versions = sorted(int(p.name) for p in (home.releases / "module").iterdir() if p.name.isdigit())
    current = home.releases / "module" / "current"
    assert current.resolve().name == str(versions[-2])  # published, not promoted
    absent = home.start("promote", model="module", version=99)
    checked = home.wait(home.start("check-release", model="module"))["state"]
    assert checked["message"] == f"module {versions[-2]} passes every check"
    offered = f"module {versions[-1]}"
    wait_until(
        lambda: offered in home.deployment("promote")["parameter_openapi_schema"]["properties"]["release"]["enum"]
    )
    promoted = home.wait(home.start("promote", release=offered))["state"]
    assert promoted["message"] == f"module {versions[-1]} is current"
    assert home.wait(home.start("rollback", model="module"))["state"]["message"] == f"module {versions[-2]} is current"
    assert current.resolve().name == str(versions[-2])
    refused = home.wait(absent)["state"]
    assert refused["type"] == "FAILED"
    assert "module has no version 99" in refused["message"]
    nothing = home.wait(home.start("promote", model="module"))["state"]
    assert "choose a release" in nothing["message"]
    told = home.deployment("deploy-model")
    assert f"/deployments/{told['id']}/create_flow_run" in told["description"]
    assert (told["tags"], told["version"]) == (["tf-fanout"], version_of("tf-fanout"))


def test_releases_are_served_in_a_sandbox_and_nothing_else_is_when_asked(home: Home) -> None:
    version = (home.releases / "clock" / "current").resolve().name
    page = httpx.get(f"{home.address}/releases/clock/{version}/report.html")
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("sandbox")
    assert (
        httpx.get(f"{home.address}/releases/clock/{version}/saved_model").headers["content-type"] == "application/zip"
    )
    assert f"clock/{version}/report.html" in httpx.get(f"{home.address}/releases/").text
    for name in (
        "key.json",
        "../../clock/1/key.json",
        "%2e%2e/%2e%2e/.clock.lock",
        "logs/../key.json",
    ):
        assert httpx.get(f"{home.address}/releases/clock/{version}/{name}").status_code == 404
    assert httpx.get(f"{home.address}/api/health", headers={"Host": "elsewhere.example"}).status_code == 400
    foreign = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    other = httpx.options(f"{home.address}/api/flow_runs/filter", headers=foreign)
    assert "access-control-allow-origin" not in other.headers


def test_nightly_run_appears_and_runs_when_its_minute_comes(home: Home) -> None:
    def ran() -> list[dict[str, object]]:
        query = {
            "deployments": {"name": {"any_": ["deploy-model"]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        }
        return [run for run in home.ask("flow_runs/filter", **query) if run["auto_scheduled"]]

    wait_until(ran, home.said)
    run = ran()[0]
    assert (run["name"], run["parameters"]) == (
        "deploy clock",
        {"model": "clock", "force": False, "promote": True, "trust_code": False, "accept_contract_change": False},
    )
    assert home.deployment("deploy-all")["schedules"] == []
    (schedule,) = home.deployment("deploy-model")["schedules"]
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    home.pause("deploy-model")


def test_configs_are_followed_while_the_ui_runs(home: Home) -> None:
    def schedules() -> dict[str, tuple[str, bool]]:
        found = home.deployment("deploy-model")["schedules"]
        return {each["slug"]: (each["schedule"]["cron"], each["active"]) for each in found}

    def choices(deployment: str = "rollback") -> list[str]:
        """Of the one that is brought up to date last, unless another is named."""
        fields = home.deployment(deployment)["parameter_openapi_schema"]["properties"]
        return list(fields["model"]["enum"] if "model" in fields else fields["models"]["items"]["enum"])

    def write(**more: object) -> None:
        samples.write_spec(home.folder / "configs", samples.KERAS, name="later", targets={"hdf5": {}}, **more)

    home.pause("deploy-model")
    config = home.folder / "configs" / "later.yaml"
    write(schedule="0 2 1 1 *")
    wait_until(lambda: "later" in choices(), home.said)
    assert schedules()["later"] == ("0 2 1 1 *", True)
    assert all("later" in choices(name) for name in ("deploy-model", "deploy-all", "check-release", "promote"))
    (schedule,) = [each for each in home.deployment("deploy-model")["schedules"] if each["slug"] == "later"]
    path = f"{home.address}/api/deployments/{schedule['deployment_id']}/schedules/{schedule['id']}"
    home.client.patch(path, json={"active": False}).raise_for_status()
    # A broken one is named, ends nothing and keeps its schedule.
    config.write_text("modle: later.py:build\n")
    wait_until(lambda: "later.yaml: model: is required" in home.said(), home.said)
    assert schedules()["later"] == ("0 2 1 1 *", False)
    # Mended, with another schedule: what was switched off stays so.
    write(schedule="0 3 1 1 *")
    wait_until(lambda: schedules().get("later") == ("0 3 1 1 *", False), home.said)
    write(schedule="0 3 1 1 99")
    wait_until(lambda: "later.yaml: schedule: " in home.said(), home.said)
    nightly = home.folder / "configs" / "nightly.yaml"
    right = nightly.read_text()
    nightly.write_text("schedule: at night\n")
    config.unlink()
    wait_until(lambda: "later" not in choices(), home.said)
    assert "later" not in schedules()
    wait_until(lambda: "nightly.yaml: schedule.cron: 'at night'" in home.said(), home.said)
    nightly.write_text(right)
    assert home.deployment("deploy-model")["paused"]
    assert home.process.poll() is None


@pytest.mark.parametrize(
    ("arguments", "auth", "said"),
    [
        (["--host", "0.0.0.0"], "", "FANOUT_AUTH=USER:PASSWORD"),
        (["--host", "0.0.0.0"], "nocolon", "must be USER:PASSWORD"),
    ],
)
def test_ui_exits_with_2_and_one_sentence_when_others_could_reach_it(
    arguments: list[str], auth: str, said: str, tmp_path: Path
) -> None:
    process = launch(tmp_path, free_port(), *arguments, FANOUT_AUTH=auth)
    assert process.wait(PATIENCE_SECONDS) == 2
    printed = (tmp_path / "ui.log").read_text()
    assert said in printed
    assert len(printed.strip().splitlines()) == 1


def test_ui_exits_with_2_when_the_port_is_taken(home: Home, tmp_path: Path) -> None:
    process = launch(tmp_path, int(home.address.rpartition(":")[2]))
    assert process.wait(PATIENCE_SECONDS) == 2
    assert "--port" in (tmp_path / "ui.log").read_text()
    assert isinstance(process, subprocess.Popen)
