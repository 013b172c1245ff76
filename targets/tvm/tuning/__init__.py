"""Measures other tiles of our schedules on the device itself, and takes those that are faster."""
