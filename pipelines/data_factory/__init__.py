"""Week06's data factory: daily partitions, checks, recovery plans and reports, over `pipelines.ingestion`."""
