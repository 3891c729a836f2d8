"""Plans a training from a data set and a memory size: a configuration in which every number has its reason."""
