"""`python -m flows.engine`: what a worker starts for each run, Prefect's own engine with less of a wait before its flow.

TensorFlow loads in a process of its own while Prefect is imported, and Python's garbage collector rests meanwhile.
"""

import importlib
import os
import runpy

from converters.processes import child, imports, scratch

_DEPLOYS = ("deploy-model", "deploy-all")
"""The flows that need TensorFlow at once."""


def main() -> None:
    """Do the run that the environment names (PREFECT__FLOW_RUN_ID), as `python -m prefect.engine` does."""
    scratch.begin()
    modules = ["prefect.flow_engine"]
    if os.environ.get("PREFECT__FLOW_NAME") in _DEPLOYS:
        child.warm_up()
        modules.append("flows.deploy")
    with imports.uncollected():
        for module in modules:
            importlib.import_module(module)
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
