"""Time of one simulated case at demo and full size, and where it goes; run with OMP_NUM_THREADS=1."""

import time
from collections import Counter

import threadpoolctl

from kernels.solids import elastoplastic, tensile
from kernels.solids.stiffness import Stiffness
from stages.design import STAGE, DesignConfig

SIZES = {"demo": (0.0046, 12), "full": (0.0018, 32)}


def clocked(owner, name, label, spent):
    """Replace owner.name by itself with its wall time and calls added to `spent`."""
    inner = getattr(owner, name)

    def timed(*args, **kwargs):
        start = time.perf_counter()
        out = inner(*args, **kwargs)
        spent[label] += time.perf_counter() - start
        spent[label + " calls"] += 1
        return out

    setattr(owner, name, timed)


def main(cases: int = 4) -> None:
    spent: Counter = Counter()
    clocked(tensile, "mesh_specimen", "mesh", spent)
    clocked(elastoplastic, "update", "return map", spent)
    clocked(elastoplastic.spla, "cg", "conjugate gradients", spent)
    clocked(Stiffness, "factor", "factor", spent)
    clocked(Stiffness, "matrix", "assemble", spent)
    clocked(tensile, "_outputs", "outputs", spent)
    design = STAGE(DesignConfig(train=cases, test=0))
    values = [{n: float(design[n][i]) for n in tensile.PARAMETERS} for i in range(cases)]
    with threadpoolctl.threadpool_limits(1):
        tensile.simulate(values[0], mesh_size=0.008, notch_segments=8)  # compile
        for size, (mesh_size, segments) in SIZES.items():
            spent.clear()
            start, cpu = time.perf_counter(), time.process_time()
            nodes = [len(tensile.simulate(v, mesh_size=mesh_size, notch_segments=segments).x) for v in values]
            wall, cpu = (time.perf_counter() - start) / cases, (time.process_time() - cpu) / cases
            print(f"{size}: {min(nodes)} to {max(nodes)} nodes, {cases} cases, 1 BLAS thread")
            print(f"  a case: {wall:.3f} s wall, {cpu:.3f} s of one core; of the wall time")
            for label in ("mesh", "factor", "conjugate gradients", "assemble", "return map", "outputs"):
                calls = spent[label + " calls"] / cases
                print(f"  {label:20s} {spent[label] / cases:.3f} s in {calls:.1f} calls")


if __name__ == "__main__":
    main()
