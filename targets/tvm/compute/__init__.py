"""What is computed, as tensor expressions of TVM."""
