"""Reading Dagster's run log and translating its records into events."""
