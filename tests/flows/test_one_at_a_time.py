"""Schedules from configs, nights that were missed, and deploys of one model that would overlap."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import samples
import yaml
from command import Fanout, Server
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Scheduled

from converters.config import read
from converters.contract.errors import BadInput
from flows import one_at_a_time
from flows.settings import Settings
from flows.ui import deployments


@pytest.fixture(name="configs")
def _configs(tmp_path: Path) -> Callable[..., Settings]:
    """Call with what nightly.yaml and each model's config say."""

    def write(common: object, **models: dict[str, object]) -> Settings:
        (tmp_path / "nightly.yaml").write_text(yaml.safe_dump(common))
        for name, fields in models.items():
            samples.write_spec(tmp_path, samples.KERAS, name=name, **fields)
        return Settings(configs=tmp_path, releases=tmp_path / "releases")

    return write


def _scheduled(settings: Settings) -> dict[str, list[tuple[str, str, dict[str, object]]]]:
    return {
        deployment.name: [(s.schedule.cron, s.schedule.timezone, s.parameters) for s in deployment.scheduled]
        for deployment in deployments.plan(settings).deployments
        if deployment.scheduled
    }


def test_plan_schedules_every_config_together_when_only_nightly_yaml_says_when(
    configs: Callable[..., Settings],
) -> None:
    settings = configs({"schedule": "0 2 * * *"}, one={}, two={})
    assert _scheduled(settings) == {"deploy-all": [("0 2 * * *", "UTC", {})]}


def test_plan_keeps_a_model_apart_when_its_config_says_when_or_never(configs: Callable[..., Settings]) -> None:
    own = {"cron": "30 4 * * 1", "timezone": "Asia/Tokyo"}
    settings = configs({"schedule": "0 2 * * *"}, one={}, two={"schedule": own}, three={"schedule": "never"})
    assert _scheduled(settings) == {
        "deploy-all": [("0 2 * * *", "UTC", {"models": ["one"]})],
        "deploy-model": [("30 4 * * 1", "Asia/Tokyo", {"model": "two"})],
    }


def test_plan_offers_a_model_all_the_same_when_its_config_is_wrong(
    configs: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = configs({}, one={})
    (tmp_path / "two.yaml").write_text("modle: two.py:build\n")
    found = deployments.plan(settings)
    assert found.models == ["one", "two"]
    assert len(found.problems) == 1
    assert "two.yaml: " in found.problems[0]


@pytest.mark.parametrize(
    "wrong", ["modle: one.py:build\n", "model: one.py:build\nschedule: 0 2 * * 99\n", "model: [\n"]
)
def test_plan_keeps_the_schedule_of_a_config_that_became_wrong(
    wrong: str, configs: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = configs({"schedule": "0 2 * * *"}, one={"schedule": "30 4 * * *"})
    before = deployments.plan(settings)
    (tmp_path / "one.yaml").write_text(wrong)
    after = deployments.plan(settings, before)
    assert after.deployments == before.deployments
    assert ["one.yaml: " in problem for problem in after.problems] == [True]
    assert deployments.plan(settings).deployments != before.deployments
    (tmp_path / "nightly.yaml").write_text("schedule: never\nschedul: 1\n")
    assert deployments.plan(settings, before).schedules == before.schedules


@pytest.mark.parametrize(
    ("common", "said"),
    [
        ({"schedule": "0 2 * *"}, "nightly.yaml: schedule.cron: '0 2 * *'"),
        ({"schedule": "0 2 * * 99"}, "nightly.yaml: schedule: "),
        ({"schedule": {"cron": "0 2 * * *", "timezone": "Berlin"}}, "there is no time zone 'Berlin'"),
        ({"schedul": "0 2 * * *"}, "schedul: unknown key; did you mean 'schedule'?"),
        ({"on_failure": {}}, "on_failure: needs a webhook or a command"),
    ],
)
def test_plan_names_file_and_field_when_a_schedule_is_wrong(
    common: object, said: str, configs: Callable[..., Settings]
) -> None:
    settings = configs(common, one={})
    with pytest.raises(BadInput) as refused:
        deployments.plan(settings)
    assert said in str(refused.value)


def test_schedule_and_hook_are_no_part_of_what_a_release_records(configs: Callable[..., Settings]) -> None:
    settings = configs({}, one={"schedule": "0 2 * * *", "on_failure": {"webhook": "https://example.org/secret"}})
    written = read.find("one", settings.configs).model_dump_json()
    assert "secret" not in written
    assert "schedule" not in written


@pytest.fixture(name="at_server")
def _at_server(server: Server) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: server.api, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield


@pytest.mark.usefixtures("at_server")
def test_caught_up_by_leaves_one_run_when_ten_nights_are_due() -> None:
    @flow(name="nightly-test")
    def exported() -> None:
        pass

    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(exported)
        deployment_id = client.create_deployment(flow_id, "nightly-test")
        now = datetime.now(timezone.utc)
        due = [
            client.create_flow_run_from_deployment(
                deployment_id, state=Scheduled(scheduled_time=now - timedelta(days=night)), name=f"night {night}"
            )
            for night in range(10)
        ]
        tomorrow = client.create_flow_run_from_deployment(
            deployment_id, state=Scheduled(scheduled_time=now + timedelta(days=1))
        )
    # Only the server's scheduler may mark a run as its own.
    scheduled = [run.model_copy(update={"auto_scheduled": True}) for run in (*due, tomorrow)]
    with pytest.MonkeyPatch.context() as patch:
        _take_all_for_scheduled(patch)
        left = [run.name for run in scheduled[:-1] if one_at_a_time.caught_up_by(run) is None]
        assert left == ["night 0"]
        assert one_at_a_time.caught_up_by(due[5]) is None  # one that a person started always runs


def _take_all_for_scheduled(patch: pytest.MonkeyPatch) -> None:
    from prefect.client.orchestration import SyncPrefectClient

    read = SyncPrefectClient.read_flow_runs

    def marked(self: SyncPrefectClient, **query: object) -> list[object]:
        return [run.model_copy(update={"auto_scheduled": True}) for run in read(self, **query)]  # type: ignore[arg-type]

    patch.setattr(SyncPrefectClient, "read_flow_runs", marked)


def test_one_at_a_time_waits_and_says_so_when_another_holds_the_model(tmp_path: Path) -> None:
    order: list[str] = []
    held = threading.Event()

    def other() -> None:
        with one_at_a_time.one_at_a_time(tmp_path, "one", lambda: order.append("waits")):
            order.append("second")

    with one_at_a_time.one_at_a_time(tmp_path, "one", held.set):
        with one_at_a_time.one_at_a_time(tmp_path, "two", held.set):
            pass  # another model is no matter
        thread = threading.Thread(target=other)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["waits", "first", "second"]
    assert not held.is_set()


CRASHES_ONCE = """
import os
import tf_keras

@tf_keras.saving.register_keras_serializable("once")
class Once(tf_keras.layers.Layer):
    @classmethod
    def from_config(cls, config):
        with open('LOG', 'a') as log:
            log.write('tried\\n')
        if open('LOG').read().count('tried') == 1:
            FAILS
        return cls(**config)

def build():
    return tf_keras.Sequential([tf_keras.Input((4,), name="x"), tf_keras.layers.Dense(2, "tanh", name="y"), Once(name="z")])
"""

# HDF5 cannot hold a layer of one's own, which only shows after its conversion has loaded the model.
OPTIONAL = {"hdf5": {"optional": True}, "serving": {}}


@pytest.mark.parametrize(("fails", "conversions"), [("os._exit(1)", 2), ("raise ValueError('always so')", 1)])
def test_conversion_is_tried_again_only_when_its_process_crashed(
    fails: str, conversions: int, fanout: Fanout, server: Server, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    code = CRASHES_ONCE.replace("LOG", str(log)).replace("FAILS", fails)
    made = samples.write_spec(tmp_path, code, name="once", targets=OPTIONAL)
    ran = fanout("deploy", made.base / "once.yaml", "--json", releases=tmp_path / "releases")
    assert ran.status == 0, ran.err
    run = server.flow_runs(f"deploy {made.base / 'once.yaml'}")[0]
    assert log.read_text().count("tried") == conversions
    assert "once 1: hdf5 model" in server.task_runs(run["id"], "once 1: release")  # one task, which may have run again
