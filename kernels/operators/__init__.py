"""Neural operators and their cheap baselines, all with one face: a Batch in, fields out."""
