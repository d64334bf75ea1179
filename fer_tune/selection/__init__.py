"""How good a result is, whether chance may have ordered two, which trials continue, and what a
search will cost. Plain functions of numbers."""
