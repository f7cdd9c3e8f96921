"""CaptureContext a run: its plan, its records, what became of each planned item, its end."""
