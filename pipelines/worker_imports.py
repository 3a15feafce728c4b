"""What a worker needs before its first part; imported by the process that workers are copies of."""

import distributed.nanny
import netgen.meshing
import pandera.xarray
import scipy.stats
import zarr

import pipelines.parts
import stages.registry

__all__ = ["distributed", "netgen", "pandera", "pipelines", "scipy", "stages", "zarr"]
