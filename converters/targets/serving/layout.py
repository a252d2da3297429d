"""Names and files that ModelServer looks for, and a release laid out so that it finds them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged
from converters.targets.serving import NAME, warmup

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
CONFIG = "models.config"
RELEASES = "/models"
"""Where the ModelServer's container sees RELEASES."""


def models_config(names: Iterable[str], releases: str = RELEASES) -> str:
    """The ModelServer's `--model_config_file` for the promoted releases of these models, in protobuf text format.

    `releases` is where the ModelServer sees RELEASES.
    """
    return config_of({name: f"{releases}/{name}/current/serving" for name in sorted(names)})


def config_of(base_paths: Mapping[str, str]) -> str:
    """The same for models by their names, each in a directory that holds its versions."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for name, path in base_paths.items():
        entry = config.model_config_list.config.add()
        entry.name = name
        entry.base_path = path
        entry.model_platform = "tensorflow"
    return str(text_format.MessageToString(config))


def parse_models_config(text: str) -> dict[str, str]:
    """Model name -> base path.

    Raises:
        Damaged: the text is no ModelServerConfig.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    try:
        config: Any = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise Damaged(f"{CONFIG} is no ModelServerConfig: {error}") from error
    return {entry.name: entry.base_path for entry in config.model_config_list.config}


@dataclass(frozen=True)
class Layout:
    """What is to be served: SERVING/VERSION of a release, the model's name, and how many warmup requests it holds."""

    servable: Path
    model: str
    warmups: int

    @staticmethod
    def of(servable: Path) -> "Layout":
        """Model name and number of requests are read from the warmup file. Raises Damaged."""
        try:
            logs = warmup.logs(servable / WARMUP)
        except Damaged as error:
            raise Damaged(f"the model's name is not to be had: {error}") from error
        names = [log.predict_log.request.model_spec.name for log in logs]
        if len(set(names)) != 1 or not names[0]:
            raise Damaged(f"the model's name is not to be had: {WARMUP.name} names {sorted(set(names))}")
        return Layout(servable, names[0], len(names))

    @property
    def version(self) -> int:
        """The release's."""
        return int(self.servable.name)

    def write(self, root: Path, releases: str, link: bool) -> Path:
        """RELEASES as the server is to see it, by the path `releases`; returns its models.config.

        `serving` is a link to the release's, or a directory over which it can be mounted.
        """
        release = root / self.model / str(self.version)
        release.mkdir(parents=True)
        if link:
            (release / NAME).symlink_to(self.servable.parent.absolute())
        else:
            (release / NAME).mkdir()
        (root / self.model / "current").symlink_to(str(self.version))
        (root / CONFIG).write_text(models_config([self.model], releases))
        return root / CONFIG
