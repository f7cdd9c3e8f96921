-- Dagster's own tables, apart from the warehouse. Run once, when the server's data folder is made.
CREATE DATABASE dagster;
