"""How good a result is, and whether chance may have ordered two. Plain functions of numbers."""
