"""Whether a prior that learned from noisy data alone does what it should, judged without clean data."""
