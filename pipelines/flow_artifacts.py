"""What a flow shows on the Prefect server: progress, tables, links; and the mark that says it lives."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pandas as pd
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.runtime import flow_run

from catalogs.environment import process_name


class Shown:
    """Artifacts of the flow run that is on; keys carry the flow's name, so each has a history of runs.

    total: steps, of which the progress bar shows a part.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._flow = str(flow_run.flow_name or "flow")
        self._steps = 0
        self._progress: UUID | None = None

    def stage(self, name: str) -> None:
        """Show that a stage begins."""
        part = min(100.0 * self._steps / self._total, 99.0)
        self._steps += 1
        if self._progress is None:
            made = create_progress_artifact(part, key=f"{self._flow}-progress", description=name)
            self._progress = made if isinstance(made, UUID) else None
        else:
            update_progress_artifact(self._progress, progress=part, description=name)

    def done(self) -> None:
        """Show that the last stage ended."""
        if self._progress is not None:
            update_progress_artifact(self._progress, progress=100.0, description="done")

    def table(self, name: str, frame: pd.DataFrame, description: str) -> None:
        """Show a table."""
        plain = frame.astype(object).where(frame.notna(), None)
        rows = [dict(zip(map(str, frame.columns), row, strict=True)) for row in plain.values.tolist()]
        create_table_artifact(rows, key=f"{self._flow}-{name}", description=description)

    def link(self, name: str, address: str, text: str) -> None:
        """Show a link."""
        create_link_artifact(address, link_text=text, key=f"{self._flow}-{name}", description=text)


def marks(project: Path) -> Path:
    """Folder with one file for every flow run that is on, which holds the name of its process."""
    return project / ".prefect" / "alive"


@contextmanager
def alive(project: Path) -> Iterator[None]:
    """Mark the flow run as living in this process, for those who look for runs whose process is gone."""
    number = flow_run.id
    if number is None:
        yield
        return
    mark = marks(project) / str(number)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(process_name())
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
