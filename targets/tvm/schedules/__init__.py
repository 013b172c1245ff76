"""How loops are ordered, tiled and vectorised: one file for each kind of function."""
