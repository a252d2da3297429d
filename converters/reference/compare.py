"""The only numeric comparison in the project: what a runtime returned against what the live model returned.

Float outputs are measured as max |error| / max |reference|, the error relative to the output's own scale: rounding
in a network is proportional to the scale of its activations, so an element-wise relative error would blame
elements that are small by cancellation. Integer, bool and string outputs are measured as the share of unequal
elements. A comparison passes when `measured <= limit`, written so that NaN fails.

Beside that worst element, `fidelity` says how much of an output is left as a whole, and of a classifier's decisions:
what it takes to judge a variant that loses something on purpose. Its worst element says little of it, so that is held
to nothing but NONSENSE unless the config says otherwise, and what is left is measured against how far the outputs vary
between samples: an output that hardly varies hides nothing. `accuracy` is the metric of labelled data.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from converters.contract.values import Case, CheckResult, Prediction, Signature, TensorSpec
from converters.formats.dtypes import dtype_name, is_inexact
from converters.reference.bounds import Bounds
from converters.reference.coverage import samples_of
from converters.reference.measure import Array, fidelity, measure, scale_of, scores_classes

Holds = Callable[[str], str]
"""Model dtype -> the dtype a target holds it as."""


def compare_structure(expected: Signature, declared: Signature, runtime: str, holds: Holds) -> list[CheckResult]:
    """Names, dtypes and shapes an artifact declares against the source's signature."""
    sides = [("input", expected.inputs, declared.inputs), ("output", expected.outputs, declared.outputs)]
    names, dtypes, shapes, held = [], [], [], []
    for side, want, have in sides:
        names += _differences(side, want.keys(), have.keys())
        for name in want.keys() & have.keys():
            target_dtype = holds(want[name].dtype)
            if have[name].dtype != target_dtype:
                dtypes.append(f"{side} {name!r} is {have[name].dtype}, expected {target_dtype}")
            elif target_dtype != want[name].dtype:
                held.append(f"{side} {name!r}: {want[name].dtype} held as {target_dtype}")
            problem = _shape_problem(want[name], have[name], strict=side == "input")
            if problem:
                shapes.append(f"{side} {name!r} {problem}")
    return [
        _finding("names", runtime, names, f"{len(expected.inputs)} inputs, {len(expected.outputs)} outputs"),
        _finding("dtypes", runtime, dtypes, "; ".join(held) or "as in the source"),
        _finding("shapes", runtime, shapes, "as in the source"),
    ]


def check_metric(
    name: str, runtime: str, value: float, live: float, max_drop: float, *, higher: bool, samples: int
) -> CheckResult:
    """A target's metric of labelled data against the live model's, on the same samples. `higher` values are better."""
    drop = live - value if higher else value - live
    detail = f"{name} {value:.4g}, the live model's {live:.4g}, {samples} samples; measured is what is lost"
    figures = {"metric": value, "live": live, "samples": float(samples)} if np.isfinite(drop) else {}
    return _limited("metric", runtime, drop, max_drop, detail, figures=figures)


def compare(
    cases: Sequence[Case],
    prediction: Prediction,
    signature: Signature,
    holds: Holds,
    bounds: Bounds,
) -> list[CheckResult]:
    """What one runtime returned for every case, against golden.

    Gives `outputs` (names, dtypes, shapes), `finite`, `values` for each output on the first batch size, `snr`, `cosine`
    and `top1` where `bounds` limit them, and `batch` for the other batch sizes where the batch is dynamic. Later findings
    are left out where earlier ones make them meaningless.
    """
    runtime = prediction.runtime
    scales = {name: _scales(cases, signature, name) for name in signature.outputs}
    whole = sum(case.batch or 1 for case in cases)
    if prediction.answered is not None:
        cases = [cases[i] for i in prediction.answered]
        scales = {name: [each[i] for i in prediction.answered] for name, each in scales.items()}
    problems = _output_problems(cases, prediction, signature, holds)
    outputs = _finding("outputs", runtime, problems, "names, dtypes, shapes")
    if outputs.status != "passed":
        return [outputs]
    asked = sum(case.batch or 1 for case in cases)
    of_all = f" of {whole}" if asked < whole else ""
    pairs = list(zip(cases, prediction.outputs, strict=True))
    lost = {name: sum(_lost(case.outputs[name], got[name]) for case, got in pairs) for name in signature.outputs}
    broken = [f"{n!r} has {c} non-finite elements where the live model has none" for n, c in lost.items() if c]
    results = [outputs, _finding("finite", runtime, broken, "finite wherever the live model is")]
    main, others = _by_batch(cases, signature)
    for index, name in enumerate(signature.outputs):
        references = [cases[i].outputs[name] for i in main]
        classes = scores_classes(references) or (name in bounds.classifiers and references[0].ndim == 2)
        centres = _centres([cases[i] for i in main], signature, name) if bounds.lossy else {}
        got = [prediction.outputs[i][name] for i in main]
        figures = fidelity(references, got, classes=classes, centres=centres)
        values = _values("values", cases, prediction, main, name, bounds, scales[name])
        told: dict[str, Any] = {"figures": figures, "detail": values.detail + of_all}
        if (times := prediction.times_ms) and not index:
            told |= {"latency_ms": statistics.median(times), "latency_range_ms": (min(times), max(times))}
        results.append(values.model_copy(update=told))
        limits = bounds.of_quality(sum(len(r) for r in references) if classes else 0)
        results += _quality(name, figures, limits, runtime, "between samples" if centres else "")
    if others:
        worst = max(
            (_values("batch", cases, prediction, others, name, bounds, scales[name]) for name in signature.outputs),
            key=_severity,
        )
        sizes = sorted({cases[i].batch for i in others})
        results.append(worst.model_copy(update={"detail": f"batch of {', '.join(map(str, sizes))}: {worst.detail}"}))
    return results


def is_whole(cases: Sequence[Case], prediction: Prediction, signature: Signature, holds: Holds) -> bool:
    """Whether it returned, of all that it was asked for, the names, dtypes and shapes that `compare` wants."""
    if prediction.error is not None:
        return False
    asked = cases if prediction.answered is None else [cases[i] for i in prediction.answered]
    return not _output_problems(asked, prediction, signature, holds)


def _values(
    check: str,
    cases: Sequence[Case],
    prediction: Prediction,
    indices: Sequence[int],
    name: str,
    bounds: Bounds,
    scales: Sequence[float],
) -> CheckResult:
    references = [cases[i].outputs[name] for i in indices]
    distances = [measure(r, prediction.outputs[i][name], scales[i]) for r, i in zip(references, indices, strict=True)]
    worst = float("nan") if any(np.isnan(d) for d in distances) else max(distances)
    inexact = is_inexact(references[0])
    limit = bounds.of_values(inexact=inexact)
    unit = "max |error| / max |reference|" if inexact else "share of unequal elements"
    samples = sum(cases[i].batch or 1 for i in indices)
    why = f"{prediction.spared}: " if prediction.spared else ""
    detail = f"{name}: {unit}, {why}{samples} sample{'s' if samples != 1 else ''}"
    return _limited(check, prediction.runtime, worst, limit, detail, output=name)


def _centres(cases: Sequence[Case], signature: Signature, name: str) -> dict[int, Array]:
    """By case, the mean of an output's samples of that shape, where they vary; nothing where none do."""
    by_shape: dict[tuple[int, ...], list[Array]] = {}
    shapes = []
    for case in cases:
        samples = samples_of([case], signature, name)
        shapes.append(samples[0].shape if samples else ())
        by_shape.setdefault(shapes[-1], []).extend(samples)
    means = {shape: mean for shape, samples in by_shape.items() if (mean := _mean(samples)) is not None}
    return {index: means[shape] for index, shape in enumerate(shapes) if shape in means}


def _mean(samples: Sequence[Array]) -> Array | None:
    """Of the finite elements; None where samples do not vary, or are compared exactly."""
    if not samples or not is_inexact(samples[0]):
        return None
    wide = np.stack(samples).astype(np.complex128 if np.iscomplexobj(samples[0]) else np.float64)
    finite = np.isfinite(wide)
    wide = np.where(finite, wide, 0)
    mean = np.asarray(wide.sum(axis=0) / np.maximum(1, finite.sum(axis=0)))
    return mean if np.any(np.where(finite, wide - mean, 0)) else None


_MEANINGS = {
    "snr": "10 log10(sum reference^2 / sum error^2), dB",
    "cosine": "cosine of output and reference",
    "top1": "share of samples with the live model's top class",
}


def _quality(
    name: str, figures: dict[str, float], limits: Mapping[str, float | None], runtime: str, varying: str
) -> list[CheckResult]:
    """A check for each figure that has a limit. `varying` is what of the reference counts, where not all of it does."""
    results = []
    for check, limit in limits.items():
        measured = figures.get("snr_db" if check == "snr" else check)
        if limit is not None and measured is not None:
            of = f" that vary {varying}" if varying and check != "top1" else ""
            detail = f"{name}: {_MEANINGS[check]}{of}; at least the limit"
            results.append(_limited(check, runtime, measured, limit, detail, at_least=True, output=name))
    return results


def _severity(result: CheckResult) -> tuple[bool, float]:
    if result.measured is None:
        return (True, np.inf)
    return (result.status != "passed", result.measured / result.limit if result.limit else result.measured)


def _output_problems(cases: Sequence[Case], prediction: Prediction, signature: Signature, holds: Holds) -> list[str]:
    if not cases or len(prediction.outputs) != len(cases):
        return [f"{len(prediction.outputs)} answers for {len(cases)} calls"]
    problems: list[str] = []
    for case, got in zip(cases, prediction.outputs, strict=True):
        problems += _differences("output", signature.outputs.keys(), got.keys())
        for name in signature.outputs.keys() & got.keys():
            dtype = holds(signature.outputs[name].dtype)
            if dtype_name(got[name]) != dtype:
                problems.append(f"output {name!r} is {dtype_name(got[name])}, expected {dtype}")
            if got[name].shape != case.outputs[name].shape:
                problems.append(
                    f"output {name!r} has shape {got[name].shape}, the live model's {case.outputs[name].shape}"
                )
    return list(dict.fromkeys(problems))


def _lost(reference: Array, got: Array) -> int:
    if not is_inexact(reference):
        return 0
    return int(np.sum(_finite(reference) & ~_finite(got)))


def _finite(value: Array) -> Array:
    """NumPy does not know it of every dtype, such as bfloat16; and large arrays are not copied for it."""
    return np.asarray(np.isfinite(value if value.dtype.kind in "fc" else value.astype(np.complex128)))


def _by_batch(cases: Sequence[Case], signature: Signature) -> tuple[list[int], list[int]]:
    """Indices of the cases with the first case's batch size, and of the others."""
    if not signature.dynamic_batch:
        return list(range(len(cases))), []
    first = cases[0].batch
    same = [i for i, case in enumerate(cases) if case.batch == first]
    return same, [i for i in range(len(cases)) if i not in same]


def _scales(cases: Sequence[Case], signature: Signature, name: str) -> list[float]:
    """What the errors of each call are relative to: the largest of all calls of the first one's batch size.

    Or the call's own largest where that is more: one near zero has no scale of its own, and one of other inputs that is
    far larger is none for the others.
    """
    main, _ = _by_batch(cases, signature)
    usual = scale_of([cases[i].outputs[name] for i in main])
    return [max(usual, scale_of([case.outputs[name]])) for case in cases]


def _shape_problem(want: TensorSpec, have: TensorSpec, *, strict: bool) -> str | None:
    """A target may know less of an output's shape than the source does, but must keep an input's as it is."""
    if want.shape is None or (have.shape is None and not strict):
        return None
    same_rank = have.shape is not None and len(have.shape) == len(want.shape)
    if same_rank and all(
        w == h or (not strict and (h is None or w is None)) for w, h in zip(want.shape, have.shape or (), strict=True)
    ):
        return None
    return f"has shape {_shown(have.shape)}, expected {_shown(want.shape)}"


def _shown(shape: tuple[int | None, ...] | None) -> str:
    return "of unknown rank" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def _differences(side: str, want: Any, have: Any) -> list[str]:
    missing, extra = sorted(want - have), sorted(have - want)
    return [f"{side} {name!r} is missing" for name in missing] + [
        f"{side} {name!r} is not in the source" for name in extra
    ]


def _finding(name: str, runtime: str, problems: Sequence[str], good: str) -> CheckResult:
    status: Literal["passed", "failed"] = "failed" if problems else "passed"
    return CheckResult(name=name, runtime=runtime, status=status, detail="; ".join(problems) if problems else good)


def _limited(
    name: str, runtime: str, measured: float, limit: float | None, detail: str, *, at_least: bool = False, **more: Any
) -> CheckResult:
    """A finding whose figure must not be above its limit, or with `at_least` below it; NaN fails, limit or none."""
    held = not np.isnan(measured) and (limit is None or (measured >= limit if at_least else measured <= limit))
    return CheckResult(
        name=name,
        runtime=runtime,
        status="passed" if held else "failed",
        measured=measured if np.isfinite(measured) else None,
        limit=limit,
        detail=detail,
        at_least=at_least,
        **more,
    )
