"""Inputs that come many times: accepted by prefix, refused by name, each checked against its schema."""

import numpy as np
import pytest
import xarray as xr

from kernels.errors import InputError
from stages.base import Stage, StageConfig, schema


def _joined(config: StageConfig, data: xr.Dataset, **members: xr.Dataset) -> xr.Dataset:
    """Sum over the members, with their names in order."""
    return xr.Dataset({"sum": ((), sum(float(m["v"]) for m in members.values()))}, {"name": list(members)})


ANY = schema()
INPUTS = {"data": ANY, "members": schema(optional=("split",)), "models": ANY}
STAGE = Stage(
    "join", 1, StageConfig, INPUTS, ANY, _joined, several=("members", "models"), optional=("models",)
)  # fmt: skip


def _value(number: float) -> xr.Dataset:
    return xr.Dataset({"v": ((), number)})


def test_members_reach_the_function_under_their_names():
    result = STAGE(StageConfig(), **{"data": _value(0), "members.a": _value(1), "members.v1.2": _value(2)})
    assert result["name"].values.tolist() == ["members.a", "members.v1.2"]
    assert float(result["sum"]) == 3.0


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["data"], r"'members.<label>', 'models.<label>'\]; missing: \['members'\], unknown: none"),
        (["data", "members"], r"missing: \['members'\], unknown: \['members'\]"),
        (["data", "members."], r"missing: \['members'\], unknown: \['members.'\]"),
        (["data.a", "members.a"], r"missing: \['data'\], unknown: \['data.a'\]"),
        (["data", "members.a", "member.b"], r"missing: none, unknown: \['member.b'\]"),
    ],
)
def test_wrong_names_are_refused(names, text):
    with pytest.raises(InputError, match=text):
        STAGE(StageConfig(), **{name: _value(1) for name in names})


def test_every_member_is_checked_under_its_full_name():
    bad = _value(1).assign(split=("sample", np.zeros(2)))
    with pytest.raises(InputError, match=r"input 'members.two' of stage 'join' does not fit its schema"):
        STAGE(StageConfig(), **{"data": _value(0), "members.one": _value(1), "members.two": bad})


@pytest.mark.parametrize(("several", "cut"), [(("nothing",), None), (("data",), "data")])
def test_several_must_be_declared_and_not_cut(several, cut):
    with pytest.raises(ValueError, match="must be declared inputs, and not be cut"):
        Stage("join", 1, StageConfig, INPUTS, ANY, _joined, split_over=cut, several=several)
