"""Flow runs whose process is gone: marked as crashed, and started again."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from catalogs.environment import is_alive
from pipelines.flow_artifacts import marks

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_ATTEMPT = "attempt-"
_RECENT = timedelta(days=1)


def mark_crashed(client: "SyncPrefectClient", deployments: Sequence[UUID], project: Path) -> list[UUID]:
    """Set the state Crashed on runs of these deployments that claim to be on while their process, on this
    machine, is gone; their ids.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    found = []
    for run in _runs(client, deployments, [StateType.RUNNING, StateType.CANCELLING]):
        mark = marks(project) / str(run.id)
        if not mark.is_file() or is_alive(mark.read_text().strip()):
            continue
        client.set_flow_run_state(
            run.id, Crashed(message="the process of this run is gone; what it finished is kept"), force=True
        )
        found.append(run.id)
    for mark in marks(project).glob("*"):
        if not is_alive(mark.read_text().strip()):
            mark.unlink(missing_ok=True)
    return found


def retry_crashed(
    client: "SyncPrefectClient", retries: dict[UUID, int], now: datetime | None = None
) -> list[UUID]:
    """Start every run that crashed within a day once more, up to `retries` of its deployment; ids of the new
    ones.

    The key of the new run is made of the old one's id, so two watchers start it once.
    """
    from prefect.client.schemas.objects import StateType

    earliest = (now or datetime.now(UTC)) - _RECENT
    started = []
    for run in _runs(client, list(retries), [StateType.CRASHED]):
        attempt = 1 + max(
            (int(t.removeprefix(_ATTEMPT)) for t in run.tags if t.startswith(_ATTEMPT)), default=0
        )
        if run.state is None or run.state.timestamp < earliest or attempt > retries[run.deployment_id]:
            continue
        made = client.create_flow_run_from_deployment(
            run.deployment_id,
            parameters=run.parameters,
            tags=[*(t for t in run.tags if not t.startswith(_ATTEMPT)), f"{_ATTEMPT}{attempt}"],
            idempotency_key=f"after-{run.id}",
        )
        started.append(made.id)
    return started


def _runs(client: "SyncPrefectClient", deployments: Sequence[UUID], states: Sequence[Any]) -> list[Any]:
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import FlowRunSort

    return client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=list(deployments)),
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(states))),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
    )
