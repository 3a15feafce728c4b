"""What a worker needs before its first part; imported by the process that workers are copies of."""

import distributed.nanny
import netgen.meshing
import scipy.stats
import zarr

import pipelines.parts
import stages.registry

__all__ = ["distributed", "netgen", "pipelines", "scipy", "stages", "zarr"]
