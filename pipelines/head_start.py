"""Steps that are computed while Prefect still starts, by the runner that the flow uses afterwards."""

import threading

from pipelines.config import PipelineConfig
from pipelines.diagram import diagram, stepper
from pipelines.runner import Runner


class HeadStart:
    """Computes the first steps of a pipeline in a thread, until the flow begins.

    A step that is on then goes on: the flow's task of that step waits for it, and tasks of those before find
    them published. An error is left to the flow, whose task meets the same one and tells it.
    """

    def __init__(self, config: PipelineConfig, runner: Runner) -> None:
        self._config, self._runner = config, runner
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="head start", daemon=True)
        self._thread.start()

    def over(self) -> None:
        """Begin no further step."""
        self._over.set()

    def join(self) -> None:
        """Wait a moment for the thread, which ends with its step, or with the runner's workers."""
        self._over.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        compute = stepper(self._config, self._runner)

        def step(label: str, **inputs: str) -> str:
            if self._over.is_set():
                raise _Over
            return compute(label, **inputs)

        def provenance(keys: dict[str, str]) -> str:
            raise _Over

        try:
            diagram(self._config, step, provenance)
        except BaseException:  # noqa: BLE001 - the flow computes the same and says what is wrong
            return


class _Over(Exception):
    """The flow has begun."""
