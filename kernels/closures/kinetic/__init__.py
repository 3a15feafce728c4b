"""Particles in a Stokes flow: the Smoluchowski equation for its even angular modes int e^{i m theta} psi."""
