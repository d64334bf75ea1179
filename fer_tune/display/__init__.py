"""What a run shows: its state, fed by events or by the database, and views of it."""
