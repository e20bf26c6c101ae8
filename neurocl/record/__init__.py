"""Activity traces: recorded, read back, analysed, drawn."""
