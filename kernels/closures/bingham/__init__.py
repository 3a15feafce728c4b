"""Bingham closures: the fourth moment of the distribution exp(p.B.p) / Z that has the second moment D."""
