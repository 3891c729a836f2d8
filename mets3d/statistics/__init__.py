"""Turns rows of scores into numbers: cohorts, intervals, paired tests, ranks, comparisons. Sees no voxel, no torch."""
