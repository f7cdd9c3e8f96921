"""Runs in the formats of other tools: JUnit XML, OpenLineage, CloudEvents, and whatever a package adds."""
