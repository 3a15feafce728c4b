"""Random fields and pseudo-spectral solvers of periodic problems."""
