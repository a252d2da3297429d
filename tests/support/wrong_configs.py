"""Configs with one mistake each, and what is said of it."""

MODEL = "model: m.py:build\n"
WRONG = {
    "top-level key": (MODEL + "golde: {}\n", "golde: unknown key; did you mean 'golden'?"),
    "key of golden": (MODEL + "golden: {sample: 3}\n", "golden.sample: unknown key; did you mean 'samples'?"),
    "key of an input": (
        MODEL + "inputs: {x: {shape: [2], dtyp: float32}}\n",
        "inputs.x.dtyp: unknown key; did you mean 'dtype'?",
    ),
    "key of an input's range": (
        MODEL + "golden: {inputs: {x: {lowest: 1}}}\n",
        "golden.inputs.x.lowest: unknown key; did you mean 'low'?",
    ),
    "key of limits": (MODEL + "limits: {minutes: 3}\n", "limits.minutes: unknown key; choose from memory_gb, seconds"),
    "key of a target": (
        MODEL + "targets: {tflite: {select_op: never}}\n",
        "targets.tflite.select_op: unknown key; did you mean 'select_ops'?",
    ),
    "key of a tolerance": (
        MODEL + "targets: {tflite: {tolerance: {int8: {error: 1, rtol: 2}}}}\n",
        "targets.tflite.tolerance.int8.rtol: unknown key",
    ),
    "key of a method": (
        MODEL + "signatures: {a: {methods: f}}\n",
        "signatures.a.methods: unknown key; did you mean 'method'?",
    ),
    "type": (MODEL + "golden: {samples: many}\n", "golden.samples: input should be a valid integer"),
    "value shown": (MODEL + "golden: {samples: many}\n", "not 'many'"),
    "bound": (MODEL + "golden: {samples: 1}\n", "golden.samples: input should be greater than or equal to 2, not 1"),
    "limit": (MODEL + "limits: {seconds: 0}\n", "limits.seconds: input should be greater than 0"),
    "range": (MODEL + "golden: {inputs: {x: {low: 2, high: 1}}}\n", "golden.inputs.x: 'low' must be below 'high'"),
    "choice": (MODEL + "initialize: magic\n", "initialize: input should be 'call' or 'shape', not 'magic'"),
    "choice of a target": (
        MODEL + "targets: {tflite: {select_ops: always}}\n",
        "targets.tflite.select_ops: input should be 'auto' or 'never', not 'always'",
    ),
    "target": (MODEL + "targets: {tflight: {}}\n", "targets: there is no target 'tflight'; did you mean 'tflite'?"),
    "targets as a list": (MODEL + "targets: [tflite]\n", "targets: input should be a valid dictionary"),
    "signatures as a list": (MODEL + "signatures: [call]\n", "signatures: input should be a valid dictionary"),
    "variant": (
        MODEL + "targets: {tflite: {variants: [int5]}}\n",
        "targets.tflite: there is no variant 'int5'; did you mean 'int8'?",
    ),
    "sizes of nothing": (MODEL + "targets: {tflite: {shapes: {}}}\n", "targets.tflite.shapes.0: says no size"),
    "size of nought": (MODEL + "targets: {tflite: {shapes: {batch: 0}}}\n", "targets.tflite.shapes.0.batch"),
    "sizes given twice": (
        MODEL + "targets: {tflite: {shapes: [{batch: 1}, {batch: 1}]}}\n",
        "targets.tflite.shapes: 'batch1' is given twice",
    ),
    "recipe without its variant": (
        MODEL + "targets: {tflite: {recipe: r.json}}\n",
        "targets.tflite.recipe: it is for the variant 'recipe', which is not among 'variants'",
    ),
    "variant without its recipe": (
        MODEL + "targets: {tflite: {variants: [recipe]}}\n",
        "targets.tflite.recipe: the variant 'recipe' needs it: a file with its rules",
    ),
    "recipe that is not there": (
        MODEL + "targets: {tflite: {variants: [recipe], recipe: r.json}}\n",
        "targets.tflite.recipe (r.json): it cannot be read as JSON",
    ),
    "recipe of half a rule": (
        MODEL + "targets: {tflite: {variants: [recipe], recipe: [{regex: '.*'}]}}\n",
        "targets.tflite.recipe: rule 0 lacks 'operation', 'algorithm_key'",
    ),
    "variant of a target with one": (
        MODEL + "targets: {serving: {variants: [fast]}}\n",
        "targets.serving: there is no variant 'fast'; choose from default",
    ),
    "tolerance's variant": (
        MODEL + "targets: {hdf5: {tolerance: {modle: {error: 1}}}}\n",
        "targets.hdf5: there is no variant 'modle'; did you mean 'model'?",
    ),
    "negative tolerance": (
        MODEL + "targets: {hdf5: {tolerance: {model: {error: -1}}}}\n",
        "targets.hdf5.tolerance.model.error: input should be greater than or equal to 0",
    ),
    "model": ("golden: {}\n", "model: is required"),
    "name": (MODEL + "name: a/b\n", "name: use letters, digits"),
    "hidden name": (MODEL + "name: .hidden\n", "name: use letters, digits"),
    "base": (MODEL + "base: /tmp\n", "base: unknown key"),
    "no builder": ("model: n.py:build\n", "n.py does not exist"),
    "no function": ("model: 'm.py:'\n", "model: 'm.py:' is not of the form FILE.py:FUNCTION"),
    "no such path": ("model: saved/here\n", "saved/here does not exist"),
    "no data": (MODEL + "golden: {data: n.py:data}\n", "golden.data: "),
    "no calibration": (MODEL + "representative: data\n", "data does not exist; give FILE.py:FUNCTION"),
    "no mapping": ("- model\n", "holds no mapping; it needs at least 'model: FILE.py:FUNCTION'"),
    "empty": ("", "holds no mapping"),
    "syntax": (MODEL + "golden: {samples: 3\n", "is not valid YAML"),
    "tag": (MODEL + "golden: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
}
