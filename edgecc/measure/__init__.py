"""From raw records to numbers that can be trusted, or the reason why they cannot."""
