"""Training of closures: on moments a priori, through the coarse model a posteriori."""
