"""Parameter studies: any stage or pipeline over a design of points."""
