"""What is made of measurements: from raw records to numbers that can be trusted, or a refusal."""
