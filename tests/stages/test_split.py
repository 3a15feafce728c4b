"""Stage `split`: disjoint by name and by content, the same whatever else is in the set."""

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from kernels.errors import InputError
from stages.base import variable
from stages.blocks import blocks
from stages.parts import rows_of
from stages.ragged import concat, take
from stages.sample_content import content_digests, shared_samples
from stages.split import STAGE, SplitConfig
from stages.variables import CALIBRATION, LEFT_OUT, TEST, TRAIN, VALIDATION
from tests.stages.operator_sets import grid_set, mesh_set


def parts_of(data: xr.Dataset, **config) -> dict[str, int]:
    found = STAGE(SplitConfig(**config), data=data)
    return dict(zip(found["sample_name"].values, found["split"].values.tolist(), strict=True))


def with_copies(data: xr.Dataset, copies: int, prefix: str = "copy") -> xr.Dataset:
    """The set with its first samples once more, under other names and with other outputs."""
    more = take(data, np.arange(copies)).copy(deep=True)
    more["sample_name"] = variable("sample_name", np.array([f"{prefix}_{i}" for i in range(copies)]))
    more["u"] = more["u"] + 1.0
    return concat([data, more])


def test_parts_have_their_shares_up_to_chance_and_cover_the_set():
    parts = parts_of(grid_set(2000, 2), validation=0.1, calibration=0.05, test=0.25)
    counts = np.bincount(list(parts.values()), minlength=4)
    for part, share in ((TRAIN, 0.6), (TEST, 0.25), (VALIDATION, 0.1), (CALIBRATION, 0.05)):
        assert abs(counts[part] - 2000 * share) < 4 * np.sqrt(2000 * share * (1 - share))
    assert counts.sum() == 2000


def test_a_sample_stays_in_its_part_whatever_comes_or_goes():
    whole = grid_set(200, 2)
    before = parts_of(take(whole, np.arange(60, 160)))
    after = parts_of(take(whole, np.random.default_rng(0).permutation(200)))
    assert {name: after[name] for name in before} == before


def test_numbers_of_samples_are_met_and_another_seed_draws_others():
    config = {"validation": 5, "calibration": 7, "test": 0.3}
    one, other = (parts_of(grid_set(100, 2), seed=seed, **config) for seed in (0, 1))
    for parts in (one, other):
        assert sum(p == VALIDATION for p in parts.values()) == 5
        assert sum(p == CALIBRATION for p in parts.values()) == 7
    assert one != other


def test_the_split_of_the_files_is_kept_and_only_train_is_divided():
    data = grid_set(100, 2)
    data["split"] = variable("split", (np.arange(100) >= 80).astype(np.int8) * TEST)
    parts = np.array(list(parts_of(data, validation=10, calibration=10).values()))
    assert (parts[80:] == TEST).all()
    assert {p: int((parts[:80] == p).sum()) for p in range(4)} == {
        TRAIN: 60, TEST: 0, VALIDATION: 10, CALIBRATION: 10,
    }  # fmt: skip
    assert (np.array(list(parts_of(data, given="ignore").values()))[80:] != TEST).any()


def test_copies_in_two_parts_are_refused_with_the_pairs():
    data = with_copies(grid_set(6, 2), 2)
    data["split"] = variable("split", np.array([0, 0, 0, 0, 0, 0, TEST, TEST], dtype=np.int8))
    wanted = r"overlap, 2 pairs .*run_0000 \(train\) = copy_0 \(test\), run_0001 \(train\) = copy_1 \(test\);"
    with pytest.raises(InputError, match=wanted):
        parts_of(data, validation=0, calibration=0)


def test_copies_stay_together_or_one_is_kept():
    data = with_copies(grid_set(6, 2), 2)
    data["split"] = variable("split", np.array([0, 0, 0, 0, 0, 0, TEST, TEST], dtype=np.int8))
    together = parts_of(data, validation=0, calibration=0, duplicates="together")
    assert [together[n] for n in ("run_0000", "copy_0", "run_0001", "copy_1")] == [TEST] * 4
    dropped = parts_of(data, validation=0, calibration=0, duplicates="drop")
    assert [dropped[n] for n in ("run_0000", "copy_0")] == [LEFT_OUT, TEST]
    assert sum(p == TRAIN for p in dropped.values()) == 4


def test_drawn_copies_lie_in_one_part():
    data = with_copies(grid_set(120, 2), 60)
    with pytest.raises(InputError, match="the parts overlap"):
        parts_of(data)
    for amount in (0.2, 20):
        parts = parts_of(data, duplicates="together", test=amount)
        assert all(parts[f"copy_{i}"] == parts[f"run_{i:04d}"] for i in range(60))


def test_failed_cases_belong_to_no_part():
    data = grid_set(40, 2)
    data["status"] = variable("status", (np.arange(40) < 3).astype(np.int8))
    found = STAGE(SplitConfig(), data=data)
    assert found["split"].values[:3].tolist() == [LEFT_OUT] * 3
    assert found.attrs["samples"]["left_out"] == 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"test": 30},
            "20 samples are to be divided.*test 30 and the rest to train, but test has 1[0-9] left",
        ),
        ({"validation": 10, "calibration": 5, "test": 5}, "but train has none"),
        ({"calibration": 1e-9}, "but calibration has none: ask for less"),
    ],
)
def test_too_few_samples_are_refused_with_the_numbers(config, message):
    with pytest.raises(InputError, match=message):
        parts_of(grid_set(20, 2), **config)


def test_names_given_twice_are_refused():
    data = grid_set(4, 2)
    data["sample_name"][2] = "run_0001"
    with pytest.raises(InputError, match="1 sample names are given more than once, such as 'run_0001'"):
        parts_of(data)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"test": 1.0}, "1.0 is neither a share nor a number"),
        ({"test": -1}, "-1 is neither a share nor a number"),
        ({"test": True}, "valid integer"),
        ({"test": 0.5, "validation": 0.5}, "add up to 1.1, expected less than 1"),
        ({"shares": 3}, "shares"),
    ],
)
def test_wrong_amounts_are_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        SplitConfig(**config)


def test_amounts_keep_their_kind_through_the_catalog():
    config = SplitConfig(test=0.0, validation=20)
    again = SplitConfig.model_validate(config.model_dump(mode="json"))
    assert (type(again.test), type(again.validation)) == (float, int)


def test_content_is_that_of_inputs_whatever_blocks_chunks_and_precision():
    data = grid_set(9, 4)
    whole = content_digests(data)
    assert len(set(whole)) == 9
    assert (content_digests(data.chunk({"sample": 2, "x": 1}), size=1) == whole).all()
    single = data.assign(a=data["a"].astype("f4").assign_attrs(data["a"].attrs))
    assert (content_digests(single) == whole).all()
    outputs = data.assign(u=(2.0 * data["u"]).assign_attrs(data["u"].attrs))
    assert (content_digests(outputs) == whole).all()
    for name in ("a", "load"):
        other = data.copy(deep=True)
        other[name][3] *= 1.0 + 1e-6
        assert (content_digests(other) != whole).tolist() == [i == 3 for i in range(9)]


def test_content_of_meshes_knows_nodes_cells_and_marks():
    data = mesh_set(5)
    whole = content_digests(data)
    assert (content_digests(take(data, [3, 1])) == whole[[3, 1]]).all()
    assert (content_digests(data, size=1) == whole).all()
    last = [False] * 4 + [True]
    for name in ("x", "connectivity", "dirichlet"):
        other = data.copy(deep=True)
        other[name].values[-1] += 1
        assert (content_digests(other) != whole).tolist() == last


def test_blocks_read_no_more_than_they_may():
    data = grid_set(20, 4)
    one = data["a"].nbytes // 20
    rows = np.array([0, 1, 2, 9, 17, 18])
    read = list(blocks(data.chunk({"sample": 1}), ["a"], rows, size=3 * one))
    assert [chosen.tolist() for chosen, _ in read] == [[0, 1, 2], [9], [17, 18]]
    np.testing.assert_array_equal(np.concatenate([b["a"].values for _, b in read]), data["a"].values[rows])


def test_thinned_copies_are_found_on_nested_grids():
    fine = grid_set(5, 9)
    coarse = take(fine.isel(y=slice(0, None, 2), x=slice(0, None, 3)), [4, 2]).copy(deep=True)
    coarse["sample_name"] = variable("sample_name", np.array(["left", "right"]))
    expected = {("run_0004", "left"), ("run_0002", "right")}
    assert set(shared_samples(fine, coarse)) == expected
    assert set(shared_samples(coarse, fine)) == {(b, a) for a, b in expected}
    shifted = coarse.assign_coords(x=coarse["x"] + 0.01)
    assert shared_samples(fine, shifted) == []


def test_rows_of_another_data_set_are_refused():
    data = grid_set(30, 2)
    split = STAGE(SplitConfig(), data=data)
    assert rows_of(data, split, TRAIN, VALIDATION, CALIBRATION, TEST).tolist() == list(range(30))
    with pytest.raises(
        InputError, match="the split is of 30 samples, the data set has 29; expected the same"
    ):
        rows_of(take(data, np.arange(29)), split, TRAIN)
    with pytest.raises(InputError, match="sample 0 is 'run_0001' here, 'run_0000' there"):
        rows_of(take(data, np.r_[1:30, 0]), split, TRAIN)
    with pytest.raises(InputError, match="no sample belongs to the left_out part"):
        rows_of(data, split, LEFT_OUT)


def test_every_sample_of_a_set_that_is_only_tested_tests():
    data = grid_set()
    found = STAGE(SplitConfig(test_only=True), data=data)
    assert (found["split"].values == TEST).all()
