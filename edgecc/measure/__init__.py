"""From what a device recorded to numbers that can be trusted, or the reason why they cannot."""
