"""Figures and reports, drawn from what the database and a retrain left. Import them from their modules."""
