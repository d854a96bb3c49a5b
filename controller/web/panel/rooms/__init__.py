"""The rooms of the panel, one module each: what a page shows and what its forms ask for."""
