"""The service type ``iis``: web sites on Windows."""
