"""Makes artificial patients with known ground truth and writes them as a data set."""
