"""What somebody asks for in deploying a model, beside what its config says."""

from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract import names, paths
from converters.contract.errors import BadInput
from converters.contract.values import Told


class Asked(Told):
    """Only some targets, data in place of the config's, a name for one that goes by its path, and what is allowed.

    `tags` are a tag-set with commas, `custom` a Python file. As in a config, each of the two permissions is asked for alone.
    """

    targets: tuple[str, ...] | None = None
    data: str | None = None
    name: str | None = None
    tags: str | None = None
    custom: str | None = None
    trust_code: bool = False
    accept_contract_change: bool = False

    def of(self, spec: ModelSpec) -> ModelSpec:
        """That model as it is asked for.

        Raises:
            BadInput: a name is no target or none that a model may have, or there is nothing that is read at a path.
        """
        spec = spec if self.targets is None else spec.with_targets(self.targets)
        spec = spec.with_data(self.data) if self.data else spec
        changed: dict[str, object] = {}
        if self.name is not None:
            if (fault := names.model_fault(self.name)) is not None:
                raise BadInput(f"--name {self.name!r}: {fault}")
            changed["name"] = self.name
        if self.tags is not None:
            changed["tags"] = tuple(tag.strip() for tag in self.tags.split(",") if tag.strip())
        if self.custom is not None:
            changed["custom"] = str(python_file(self.custom, Path.cwd(), "--custom"))
        if self.trust_code:
            changed["trust_code"] = True
        if self.accept_contract_change:
            changed["accept_contract_change"] = True
        return spec.model_copy(update=changed)

    def words(self) -> list[str]:
        """The same as options of a command; `targets` left out."""
        told = {"--data": self.data, "--name": self.name, "--tags": self.tags, "--custom": self.custom}
        flags = {"--trust-code": self.trust_code, "--accept-contract-change": self.accept_contract_change}
        return [
            *(word for option, value in told.items() if value is not None for word in (option, value)),
            *(flag for flag, given in flags.items() if given),
        ]


def python_file(text: str, base: Path, field: str) -> Path:
    """A Python file that somebody named, absolute. Raises BadInput."""
    path = paths.path(text, base).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise BadInput(f"{field}: {path} {'is no Python file' if path.exists() else 'does not exist'}; give a FILE.py")
    return path
