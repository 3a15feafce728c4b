"""Small-strain elasto-plasticity."""
