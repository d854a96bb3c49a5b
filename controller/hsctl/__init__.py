"""The operators' command line, over the API. Imports of anything slow stay inside functions."""
