"""The stretched bar: every constant of the material arrives where it belongs."""

from types import SimpleNamespace

import numpy as np
import pytest

from kernels.solids import tensile
from kernels.solids.elastoplastic import Control

MATERIAL = {
    "young": 2.1e11, "poisson": 0.29, "yield_stress": 3.1e8, "hardening": 1.3e9, "saturation_stress": 2.2e8,
    "saturation_rate": 17.0,
}  # fmt: skip


class Solved(Exception):
    """Carries the material that the solver was given."""


def test_the_material_has_the_constants_that_were_given(monkeypatch):
    def solve(_system, material, *_rest):
        raise Solved("the material", material)

    mesh = SimpleNamespace(x=np.zeros((3, 2)), nodes_of=lambda _tag: [0])
    monkeypatch.setattr(tensile, "solve", solve)
    monkeypatch.setattr(tensile, "Specimen", lambda *_given, **_notches: None)
    monkeypatch.setattr(tensile, "mesh_specimen", lambda *_given: mesh)
    monkeypatch.setattr(tensile, "Stiffness", lambda *_given: None)
    monkeypatch.setattr(tensile, "edge_force", lambda *_given: None)
    values = {**dict.fromkeys(tensile.PARAMETERS, 0.01), **MATERIAL, "load": 1e8}
    with pytest.raises(Solved, match="the material") as caught:
        tensile.simulate(values, 0.1, 0.04, 0.01, 8, Control())
    assert {name: getattr(caught.value.args[1], name) for name in MATERIAL} == MATERIAL
