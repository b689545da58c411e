"""Recorded decisions: why one was made, and what would be decided today. Reads logs, starts nothing."""
