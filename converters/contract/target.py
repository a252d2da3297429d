"""What a target is, as values: its variants, the runtimes that run it, and the functions that make and read its files.

A folder below `converters/targets` (or a package of its own, by an entry point in the group `fanout.targets`) offers one
`Target`. A target converts, inspects and runs; it never judges itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import Self

from converters.contract.settings import Quality, Tolerance
from converters.contract.soundness import Soundness
from converters.contract.values import Artifact, LayerLoss, Prediction, Signature, Source, Structure, Tensors, Told

Cases: TypeAlias = Mapping[str, Sequence[Tensors]]
"""The inputs of every call, by signature key ('' for an artifact without one)."""

T = TypeVar("T")


@dataclass(frozen=True)
class Variant:
    """One kind of file that a target makes.

    `quality` is given where the variant loses something on purpose, and a `calibrated` one has ranges from the inputs it is
    given. `usual_seconds` is what converting and checking one takes where that was never measured: MobileNetV2's. `trial` is
    made where the runtime alone can say whether it holds a model.
    """

    name: str
    tolerance: Tolerance
    quality: Quality | None = None
    usual_seconds: float = 2.0
    calibrated: bool = False
    trial: "Trial | None" = None


@dataclass(frozen=True)
class Trouble:
    """What went wrong when an artifact was tried: with golden's `inputs`, by this `tolerance`, and the runtime's `error`, if
    it gave one in place of outputs."""

    inputs: Sequence[Tensors]
    tolerance: Tolerance
    error: str | None = None


@dataclass(frozen=True)
class Trial:
    """Running what was converted, with golden, while converting, in a runtime of the target's (by name).

    `cause` says of an artifact that fell short what the runtime lacks or computes otherwise: the layer, the argument. It is
    None where the files do not hold what the model is, or nothing is found: that is for the checks to fail. Runs in a child
    process that has TensorFlow.
    """

    runtime: str
    cause: Callable[[Source, Artifact, Trouble], str | None]


@dataclass(frozen=True)
class Runtime:
    """A program that runs a target's artifacts.

    `run` is called in a child process, and returns a prediction for each artifact, of the calls of its signature; it may
    take so many seconds, and who can ends before. It raises Damaged, MissingRuntime, ServerFailed. `version` is quick,
    raises MissingRuntime with how to get it, and says which `program` is here, for a person.

    A `fresh` child has no TensorFlow loaded. What `stays` names is the kind of child that runs it and stays for the next
    check of that kind, since starting one is slow. `instead` is the runtime that must run what this one lacks a kernel for,
    or what takes it too long where that one is faster. `pace` is the work (`cost.work`) that it does in a second on a slow
    core; without it nothing is too much. `spared`, called in a child as `run` is, says why the one of this machine is asked
    for golden's last call alone, and its `instead` for all, unless the options want all of both; None where that is not so. One
    with `find`, which is quick and raises MissingRuntime, may be missing where an artifact names it, and lack what it takes to
    run that, unless the options require it; any other must run what names it.
    """

    name: str
    program: str
    run: Callable[[Sequence[Artifact], Cases, float], list[Prediction]]
    version: Callable[[], str]
    fresh: bool = True
    stays: str | None = None
    instead: str | None = None
    pace: float | None = None
    spared: Callable[[], str | None] | None = None
    find: Callable[[], object] | None = None

    @property
    def optional(self) -> bool:
        """Whether a machine may lack it."""
        return self.find is not None


class Options(Told):
    """What every target can be told. A target's own options extend this."""

    known: ClassVar[tuple[Variant, ...]] = ()
    """The variants there are."""
    optional: bool = Field(default=False, description="the target may be unsupported without blocking the release")
    variants: tuple[str, ...] = Field(
        default=("default",),
        description="which variants to make: a list, or a mapping to {} or {optional: true}, of which `required` is made",
    )
    required: tuple[str, ...] | None = Field(
        default=None,
        description="the variants that block the release when they fail, where others are left out; default: all",
    )
    tolerance: dict[str, Tolerance] = Field(default={}, description="variant -> tolerance, in place of the default")
    quality: dict[str, Quality] = Field(
        default={},
        validate_default=True,
        description="variant -> quality; what is left out keeps the variant's default",
    )
    evaluation_samples: int | None = Field(
        default=None, ge=1, description="evaluation samples for this target's runtimes, fewer than evaluation.samples"
    )

    @model_validator(mode="before")
    @classmethod
    def _optional_variants(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or not isinstance(value.get("variants"), Mapping):
            return value
        told = value["variants"]
        if "required" in value:
            raise ValueError("'required' and a mapping of 'variants' say the same; give one of them")
        for name, of in told.items():
            if of not in (None, {}, {"optional": True}, {"optional": False}):
                raise ValueError(f"variants.{name}: give {{}} or {{optional: true}}, not {of!r}")
        required = [name for name, of in told.items() if not (of or {}).get("optional")]
        return {**value, "variants": list(told), "required": required}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Also the mapping of `variants`; names that are none of a variant are refused."""
        written = handler.resolve_ref_schema(handler(schema))
        fields, name = written["properties"], cls.variant_schema()
        told = {"anyOf": [{"type": "null"}, _object({"optional": {"type": "boolean"}})]}
        variants = fields["variants"]
        either = [{"type": "array", "items": name}, mapping(name, told)]
        fields["variants"] = {key: variants[key] for key in ("default", "description") if key in variants} | {
            "anyOf": either
        }
        fields["required"]["anyOf"] = [{"type": "array", "items": name}, {"type": "null"}]
        for field_name in ("tolerance", "quality"):
            fields[field_name]["propertyNames"] = name
        return written

    @classmethod
    def variant_schema(cls) -> JsonSchemaValue:
        """The names that variants may have, as JSON Schema has it."""
        return {"enum": [variant.name for variant in cls.known]}

    @field_validator("quality", mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        defaults = {variant.name: variant.quality.model_dump() for variant in cls.known if variant.quality is not None}
        given = {variant: item for variant, item in value.items() if not isinstance(item, Mapping)}
        merged = {
            variant: {**defaults.get(variant, {}), **item} for variant, item in value.items() if variant not in given
        }
        return {**defaults, **merged, **given}

    @classmethod
    def kind_of(cls, variant: str) -> str:
        """The variant that this one is a form of, or else itself."""
        return variant

    def has(self, variant: str) -> bool:
        """Whether there is this variant, or with these options this form of one."""
        return any(known.name == variant for known in self.known)

    def of(self, table: Mapping[str, T], variant: str) -> T | None:
        """What a table says of a variant, or else of the one that it is a form of."""
        return table[variant] if variant in table else table.get(self.kind_of(variant))

    def fixes(self, signature: Signature) -> list[Signature]:
        """A model's signature in each of the sizes that files of the target fix, and golden needs calls of."""
        return []

    def read(self, base: Path) -> "Self":
        """The same with what they name files for, relative to `base`, read from these. Raises BadInput with the field."""
        return self

    def blocks(self, variant: str) -> bool:
        """Whether a release without this variant must not be promoted."""
        return self.required is None or variant in self.required or self.kind_of(variant) in self.required

    def chosen_runtimes(self) -> tuple[str, ...]:
        """The runtimes that the config names in place of those that the artifact itself does; empty for none."""
        return ()

    def asks_all_of(self, runtime: str) -> bool:
        """Whether a runtime that would be spared is asked for everything all the same."""
        return False

    def requires(self, runtime: str) -> bool:
        """Whether the absence of an optional runtime is a failure."""
        return False


def _object(properties: JsonSchemaValue) -> JsonSchemaValue:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def mapping(names: JsonSchemaValue, values: JsonSchemaValue) -> JsonSchemaValue:
    """The JSON Schema of a mapping from such names to such values."""
    return {"type": "object", "propertyNames": names, "additionalProperties": values}


O = TypeVar("O", bound=Options)  # noqa: E741 - of options


def named(source: Source, options: Options) -> Sequence[str]:
    """The variants that the options name."""
    return options.variants


def as_it_is(options: Options, variant: str, signature: Signature) -> Signature:
    """The model's own."""
    return signature


def unchanged(dtype: str) -> str:
    """Every dtype as it is."""
    return dtype


@dataclass(frozen=True)
class Target(Generic[O]):
    """One target.

    Args:
        name: as configs, manifests and releases have it.
        title: as a person calls it.
        options: what it can be told; `options.known` are its variants.
        convert: writes a variant below the release's directory and returns an Artifact for each signature; raises
            Unsupported where the target can hold nothing of this source. Runs in a child process.
        inspect: reads back what the file declares; raises Damaged. Runs in a child process.
        runtimes: what runs its artifacts.
        chosen: the variants to make: those the options name, or those this source can have.
        holds: the dtype in which the target holds the model's.
        promises: the signature that a variant has for one of the model's, where it fixes sizes.
        layers: what each layer of a lossy variant lost against the SavedModel, for these inputs of its signature; those
            that add most noise first. Runs in a child process.
        sound: how the weights and layers of a lossy variant stand to those of the SavedModel, whatever the inputs (some of
            its signature are given). Raises Damaged. Runs in a child process.
        always: made of every model, since the others are made from it, and left out by nobody.
        packages: the packages it works with, each with what for.
        code: what of an artifact would do something beside calculating if it were loaded and run, as parts of a sentence;
            None where its runtimes run nothing that could. Raises Damaged. Runs in a child process.
        describe: what a file of this format holds, for `fanout inspect`, by suffix or file name. Runs in a child process.
    """

    name: str
    title: str
    options: type[O]
    convert: Callable[[Source, str, Path, O], list[Artifact]]
    inspect: Callable[[Artifact], Structure]
    runtimes: tuple[Runtime, ...]
    chosen: Callable[[Source, O], Sequence[str]] = named
    holds: Callable[[str], str] = unchanged
    promises: Callable[[O, str, Signature], Signature] = as_it_is
    layers: Callable[[Artifact, Path, Tensors], list[LayerLoss]] | None = None
    sound: Callable[[Artifact, Path, Tensors], Soundness] | None = None
    always: bool = False
    code: Callable[[Path], list[str]] | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    describe: Mapping[str, Callable[[Path], dict[str, Any]]] = field(default_factory=dict)

    def variant(self, name: str) -> Variant:
        """Raises KeyError where there is none of that name."""
        known = {variant.name: variant for variant in self.options.known}
        return replace(known[self.options.kind_of(name)], name=name)

    def runtime(self, name: str) -> Runtime:
        """Raises KeyError where there is none of that name."""
        return {runtime.name: runtime for runtime in self.runtimes}[name]
