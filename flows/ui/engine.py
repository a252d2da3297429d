"""`python -m flows.ui.engine`: one flow run of a worker, whose id is in PREFECT__FLOW_RUN_ID.

The same as `python -m prefect.engine` (prefect/engine.py, 3.8.8) but for three things: TensorFlow loads in the fork
server meanwhile; parameters that the flow does not have end the run with a sentence in place of a crash; and a run that
ends as Failed, which the flow has said in its state, is no exception with a traceback in the log.
"""

import inspect
import os
from uuid import UUID

from converters.processes import child as isolate


def run(flow_run_id: UUID) -> None:
    """Run it to its end; signals and crashes exit this process, as the worker expects."""
    from prefect._internal.control_listener import configure_from_env
    from prefect.client.orchestration import get_client
    from prefect.engine import handle_engine_signals
    from prefect.flow_engine import load_flow, load_flow_run, run_flow
    from prefect.logging.loggers import flow_run_logger
    from prefect.states import Failed

    configure_from_env()
    with handle_engine_signals(flow_run_id):
        flow_run = load_flow_run(flow_run_id=flow_run_id)
        logger = flow_run_logger(flow_run=flow_run)
        flow = load_flow(flow_run)
        known = list(inspect.signature(flow.fn).parameters)
        unknown = [repr(name) for name in flow_run.parameters if name not in known]
        if unknown:
            message = f"{flow.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}"
            logger.error(message)
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(flow_run_id, Failed(message=message), force=True)
            return
        run_flow(flow, flow_run=flow_run, error_logger=logger, return_type="state")  # type: ignore[arg-type]


if __name__ == "__main__":
    isolate.warm_up()
    run(UUID(os.environ["PREFECT__FLOW_RUN_ID"]))
