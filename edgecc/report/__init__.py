"""What a build tells: one record (JSON), and tables of it for the terminal."""
