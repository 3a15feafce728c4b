"""Kinetic theory of active suspensions, its moment equations and what closes them."""
