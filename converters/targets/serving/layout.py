"""Names and files that ModelServer looks for."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
CONFIG = "models.config"
RELEASES = "/models"
"""Where the ModelServer's container sees RELEASES."""


def models_config(names: Iterable[str], releases: str = RELEASES) -> str:
    """The ModelServer's `--model_config_file` for the promoted releases of these models, in protobuf text format.

    `releases` is where the ModelServer sees RELEASES.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for name in sorted(names):
        entry = config.model_config_list.config.add()
        entry.name = name
        entry.base_path = f"{releases}/{name}/current/serving"
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
