"""New cases for a trained operator: what describes them, and how they become what it predicts from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import xarray as xr
from pydantic import create_model

from catalogs.catalog import Catalog
from catalogs.formats.arrays import arrays_fingerprint, read_arrays
from catalogs.formats.arrays_files import OPENERS
from catalogs.formats.arrays_new import for_new_cases
from catalogs.formats.arrays_spec import ArrayFile, ArraysSpec
from catalogs.keys import artifact_key
from kernels.errors import InputError
from pipelines.config import MeshFiles, PipelineConfig, locate, placed, read_toml
from pipelines.files import add_files
from pipelines.operator_config import OperatorConfig
from pipelines.runner import Runner
from stages.base import by_role
from stages.ingest import IngestConfig
from stages.ingest_arrays import IngestArraysConfig
from stages.new_cases import NewCasesConfig, fitted
from stages.operator_data import Channels
from stages.operator_model import channel_names, load_signature
from stages.predict_operator import PredictOperatorConfig
from stages.registry import STAGES
from stages.variables import FIELD, PARAMETER, SCALAR


class Cases(PipelineConfig, MeshFiles):
    """What new cases are: `arrays` or `files` as in the config of the operator pipeline.

    ingest: of mesh files, None: as when the model was trained. What else that config may say is passed over.
    """

    pipeline: ClassVar[str] = "operator"

    source: Literal["generate", "arrays", "files"] | None = None
    arrays: ArraysSpec | None = None
    ingest: IngestConfig | None = None
    ingest_arrays: IngestArraysConfig = IngestArraysConfig()
    predict_operator: PredictOperatorConfig = PredictOperatorConfig()

    @property
    def in_arrays(self) -> bool:
        """Whether they are arrays, not mesh files."""
        return self.arrays is not None and self.source != "files"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are read, in order."""
        if self.arrays is not None and self.in_arrays:
            return tuple(path for entry in self.arrays.files for path in entry.paths)
        return self.files


_PASSED_OVER: dict[str, Any] = {
    name: (Any, None) for name in OperatorConfig.model_fields if name not in Cases.model_fields
}
CasesConfig: type[Cases] = create_model("CasesConfig", __base__=Cases, **_PASSED_OVER)


def described(config: str | None, files: Sequence[Path]) -> Cases:
    """The new cases of a TOML file, `files` in place of those that it names; or mesh files alone.

    Raises InputError naming what is unknown in the file, and where there are no cases, or arrays without a
    description.
    """
    given = tuple(file.resolve() for file in files)
    if config is None:
        cases = CasesConfig(files=given)
    else:
        where = locate(Path(config))
        relative = placed(_with_files(read_toml(where, CasesConfig), given), where)
        assert isinstance(relative, Cases)
        cases = relative
    if not cases.paths:
        said = "no config is given" if config is None else f"{config} names none"
        raise InputError(
            f"there are no new cases: {said}; give mesh files, or --config with a section [arrays] or `files`"
        )
    bare = [file for file in cases.paths if file.suffix.lower() in (*OPENERS, ".zarr")]
    if bare and not cases.in_arrays:
        raise InputError(
            f"{bare[0]} holds arrays, and nothing says which of them is what: give --config with a section "
            "[arrays], such as the config that the model was trained with"
        )
    return cases


def _with_files(cases: Cases, files: tuple[Path, ...]) -> Cases:
    if not files:
        return cases
    if cases.arrays is None or not cases.in_arrays:
        return cases.model_copy(update={"files": files})
    entries = tuple(ArrayFile(path=file) for file in files)
    return cases.model_copy(
        update={"arrays": cases.arrays.model_copy(update={"files": entries, "others": {}})}
    )


def add_cases(cases: Cases, parameters: Mapping[str, float], model_key: str, runner: Runner) -> str:
    """Read the cases, check that they are for the model, and publish them, unless they are there; their key.

    Raises InputError naming what does not fit, before anything is published where no value has to be read.
    """
    model = runner.catalog.open(model_key)
    if cases.arrays is not None and cases.in_arrays:
        raw = _arrays(for_new_cases(cases.arrays), parameters, model_key, runner)
    elif load_signature(model).layout == "grid":
        raise InputError(
            f"{cases.paths[0]} is read as a mesh, the model was trained on a grid: give arrays, described by "
            "a section [arrays] in --config, or choose another model"
        )
    else:
        raw = _meshes(cases, model_key, channel_names(model), runner)
    _check_marks(runner.catalog, model_key, runner.catalog.open(raw))
    config = NewCasesConfig(missing=cases.ingest_arrays.missing, parameters=dict(parameters))
    return runner.step(STAGES["new_cases"], config, {"raw": raw, "model": model_key})


def _arrays(spec: ArraysSpec, parameters: Mapping[str, float], model_key: str, runner: Runner) -> str:
    """The arrays without their outputs, whose axes stay; they are checked before they are published."""
    content = arrays_fingerprint(spec)
    key = artifact_key("new_arrays", 1, {"content": content}, {})
    if runner.catalog.exists(key):
        return key
    raw = read_arrays(spec)
    fitted(raw, runner.catalog.open(model_key), parameters)
    _check_marks(runner.catalog, model_key, raw)
    return runner.add("new_arrays", raw.drop_vars(by_role(raw, FIELD)), {}, content)


def _meshes(cases: Cases, model_key: str, names: Channels, runner: Runner) -> str:
    given = cases.ingest or _ingest_of(runner.catalog, model_key)
    taken = {*names.inputs, *names.parameters, *given.inputs, given.dirichlet}
    units = {name: unit for name, unit in cases.read.units.items() if name in taken}
    read = cases.read.model_copy(update={"units": units, "fields": None})
    files = add_files(cases.model_copy(update={"read": read}), runner)
    config = _for_new_cases(given, names, runner.catalog.open(files))
    return runner.step(STAGES["ingest"], config, {"raw": files})


def _ingest_of(catalog: Catalog, model_key: str) -> IngestConfig:
    """How the mesh files were treated that the model was trained with."""
    table = catalog.lineage(model_key, down=0)
    keys = table.loc[table["stage"] == "ingest", "key"]
    return IngestConfig.model_validate(catalog.show(keys.iloc[0])["config"]) if len(keys) else IngestConfig()


def _for_new_cases(given: IngestConfig, names: Channels, raw: xr.Dataset) -> IngestConfig:
    """The config without what it says of variables that new cases need not have."""
    inputs = given.inputs or names.inputs
    scalars = [*by_role(raw, SCALAR), *by_role(raw, PARAMETER)]
    known = {name for name, one in raw.data_vars.items() if "role" in one.attrs}
    known |= {str(raw[name].attrs["vector"]) for name in known if "vector" in raw[name].attrs}
    outputs = None if given.outputs is None else tuple(name for name in given.outputs if name in scalars)
    return given.model_copy(
        update={
            "inputs": inputs, "fields": inputs, "prescribes": {}, "outputs": outputs,
            "units": {name: unit for name, unit in given.units.items() if name in known},
        }
    )  # fmt: skip


def _check_marks(catalog: Catalog, model_key: str, raw: xr.Dataset) -> None:
    """Raise InputError where nodes were marked in training, and are not in the new cases."""
    data = catalog.show(model_key)["inputs"].get("data")
    if data is None or not catalog.exists(data):
        return
    if "dirichlet" in catalog.open(data) and "dirichlet" not in raw and "node_count" in raw:
        raise InputError(
            "the model was trained on meshes that mark where the outputs are prescribed, the new cases mark "
            "no nodes: name the array or field that marks them with `dirichlet` (zeros where there are none)"
        )
