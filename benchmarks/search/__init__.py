"""What a search finds, measured on curves of real trainings: collected once, then played often."""
