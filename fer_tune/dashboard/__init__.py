"""optuna-dashboard: its server, and the notes and pictures that it shows beside the numbers."""
