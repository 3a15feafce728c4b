"""Training of neural operators: order of the samples, stream, losses, loop and checkpoints."""
