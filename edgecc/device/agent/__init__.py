"""What runs on the device: Python 3.6 and its standard library alone, packed as one file."""
