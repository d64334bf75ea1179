"""Other searches, as their libraries document them, on the same simulated trainer."""
