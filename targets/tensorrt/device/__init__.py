"""What builds and times TensorRT engines on the board: Python 3.6, standard library alone."""
