"""Particles in a Stokes flow: the Smoluchowski equation for even angular modes z_m = int e^{i m theta} psi."""
