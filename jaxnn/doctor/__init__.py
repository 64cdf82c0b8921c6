"""What this machine gives to a run, and the known traps in it: `jaxnn doctor`."""
