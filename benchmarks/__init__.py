"""What things cost, measured in one run on one machine; ratios within a run are what counts. `make bench`."""
