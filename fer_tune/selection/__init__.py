"""How good a result is, and which results chance may have ordered. Plain functions of numbers and arrays."""
