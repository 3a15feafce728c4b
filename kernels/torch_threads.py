"""The threads of torch, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """`count` threads inside one operation, as many as before in the end; None leaves them as they are."""
    import torch  # seconds, which importing this module does not cost

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_each(count: int | None, processes: int) -> int:
    """Threads of torch in each of several processes: `count`; None divides those of this one."""
    import torch

    return count or max(1, torch.get_num_threads() // processes)
