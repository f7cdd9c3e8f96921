"""The documentation, and the programs that make the parts of it which follow from the code."""
