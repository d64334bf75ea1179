"""Reports, pictures and tables of studies. Import them from their modules."""
