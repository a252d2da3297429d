"""`python -m flows.engine`: Prefect's engine for one run, with TensorFlow loading in the fork server meanwhile."""

import runpy

from converters import isolate

if __name__ == "__main__":
    isolate.warm_up()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=False)
