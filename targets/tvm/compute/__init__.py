"""What is computed, as TVM tensor expressions: the shapes are blocked, the schedules are elsewhere."""
