"""Which model of a catalog is meant: by key, by name, or the one that the last run chose."""

from collections.abc import Mapping

from catalogs.catalog import Catalog
from kernels.errors import InputError

SURROGATE = "train_gp"
"""The stage whose results predict on a part."""

OPERATORS = ("train_operator", "ensemble")
"""Stages whose results are operators."""

CHOSEN = "chosen"
"""Instead of a key: the candidate that the last run of the operator pipeline chose."""


def model_of(catalog: Catalog, address: str) -> tuple[str, str]:
    """Key of a model and the stage that made it; address: first characters of a key, a name with or without
    its version, or "chosen".

    Raises InputError where that is no model.
    """
    key = chosen_operator(catalog) if address == CHOSEN else catalog.resolve(address)
    stage = str(catalog.show(key)["stage"])
    if stage not in (SURROGATE, *OPERATORS):
        table = catalog.list()
        models = table.loc[table["stage"].isin((SURROGATE, *OPERATORS)), "key"].str.slice(0, 12)
        raise InputError(
            f"artifact {key[:12]} is the result of stage {stage!r}, not a model; "
            "models of this catalog are: "
            f"{', '.join(models) or 'none, run `pushforward run surrogate` or `run operator` first'}"
        )
    return key, stage


def chosen_operator(catalog: Catalog) -> str:
    """Key of the model that the last run of the operator pipeline chose by validation: the ensemble of the
    candidate's seeds. The last run is that whose report is the newest.

    Raises InputError where there is no run, or it chose none.
    """
    table = catalog.list()
    reports = table.loc[table["stage"] == "report_operator", "key"]
    if not len(reports):
        raise InputError(
            f"{CHOSEN!r} is the model that the last run of `pushforward run operator` chose, and there is no "
            "run in this project: run it, or give the key of a model"
        )
    inputs: Mapping[str, str] = catalog.show(reports.iloc[-1])["inputs"]
    name = str(catalog.open(inputs["metrics"]).attrs["chosen"])
    own = {label: key for label, key in inputs.items() if label.startswith(f"models.{name}.")}
    if not name or not own:
        raise InputError(
            "the last run of the operator pipeline chose no candidate, since none has a validation error: "
            "give the key of a model, as pushforward catalog list --stage ensemble shows"
        )
    return own.get(f"models.{name}.ensemble") or next(iter(own.values()))
