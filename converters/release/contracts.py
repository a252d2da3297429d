"""The contract of a release: what its callers rely on, the signatures with their tensors' names, data types and shapes."""

from collections.abc import Iterator, Mapping

from converters.contract.names import shown
from converters.contract.values import Signature, TensorSpec
from converters.release.comparison import Comparison
from converters.release.manifest import Manifest

Signatures = Mapping[str, Signature]
_NAMED = 3


def judged(comparison: Comparison, current: Manifest, signatures: Signatures, *, accepted: bool) -> Comparison:
    """The comparison with what became of the contract of the current release; a change that is not accepted is a refusal."""
    changes = list(_changes(current.source.signatures, signatures))
    if not changes:
        return comparison
    refusal = None
    if not accepted:
        more = f"; and {len(changes) - _NAMED} more" if len(changes) > _NAMED else ""
        refusal = (
            f"its signatures are not those of release {current.version}, whose callers it would break: "
            f"{'; '.join(changes[:_NAMED])}{more}; if it is another model, give it a --name of its own; if it is meant, give "
            "--accept-contract-change, or set 'accept_contract_change: true'"
        )
    changed = {"contract": "changed", "contract_changes": changes, "contract_refusal": refusal}
    return comparison.model_copy(update=changed)


def _changes(before: Signatures, now: Signatures) -> Iterator[str]:
    for key in [*before, *(key for key in now if key not in before)]:
        if key not in now:
            yield f"signature {shown(key)!r} is gone"
        elif key not in before:
            yield f"signature {shown(key)!r} is new"
        else:
            for side in ("input", "output"):
                old, new = (getattr(each, f"{side}s") for each in (before[key], now[key]))
                yield from (f"{change} ({shown(key)})" for change in _of_tensors(side, old, new))


def _of_tensors(side: str, before: Mapping[str, TensorSpec], now: Mapping[str, TensorSpec]) -> Iterator[str]:
    for name in [*before, *(name for name in now if name not in before)]:
        what = f"{side} {shown(name)!r}"
        if name not in now:
            yield f"{what} is gone"
        elif name not in before:
            yield f"{what}, {_written(now[name])}, is new"
        elif before[name] != now[name]:
            yield f"{what} was {_written(before[name])} and is {_written(now[name])}"


def _written(spec: TensorSpec) -> str:
    if spec.shape is None:
        return f"{spec.dtype} of unknown rank"
    return f"{spec.dtype} [{', '.join('?' if size is None else str(size) for size in spec.shape)}]"
