"""How operators are said in older terms, a theme a file; `table` says which goes where."""
