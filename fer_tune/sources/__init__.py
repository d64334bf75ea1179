"""Sources of jobs: the search of a sweep, and final fits."""
