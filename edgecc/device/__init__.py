"""Devices: how they are reached (`transport`), and what runs on them (`agent`)."""
