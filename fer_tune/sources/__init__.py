"""Where jobs come from: the search of a sweep, and final fits."""
