"""Several methods at equal compute, ranked with labels and without: plan, trials, records, rows."""
