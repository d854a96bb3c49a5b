"""The service type ``control-panel``: the controller's own web pages."""
