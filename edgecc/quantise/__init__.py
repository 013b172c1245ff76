"""int8 on the host: calibration, balance factors, a QDQ graph, a cache, and what it costs."""

from edgecc.quantise.make import QuantWish, Written, quantise_model

__all__ = ["QuantWish", "Written", "quantise_model"]
