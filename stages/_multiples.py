"""How often one time goes into another: steps into frames, frames into runs."""

_ROUNDING = 1e-9


def count_of(whole: float, part: float, name: str, of: str) -> int:
    """whole / part, a number from 1 on, to rounding; name, of: what they are called.

    Raises ValueError where it is none, with the nearest part that goes into the whole as it is written.
    """
    count = round(whole / part)
    if count < 1 or abs(count * part - whole) > _ROUNDING * whole:
        raise ValueError(
            f"{name} is {whole:g} and {of} {part:g}, expected a multiple: choose {of} = "
            f"{_divisor(whole, part)}"
        )
    return count


def _divisor(whole: float, part: float) -> str:
    """The largest divisor of the whole up to about the part that six digits can write."""
    first = max(1, round(whole / part))
    for count in range(first, 2 * first + 100):
        text = f"{whole / count:g}"
        if abs(count * float(text) - whole) <= _ROUNDING * whole:
            return text
    return repr(whole / first)
