"""Made-up patients with known ground truth, written as a data set."""
