"""What is true for every mapping: passes, footprints, operation counts, bounds."""
