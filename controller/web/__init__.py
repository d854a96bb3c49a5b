"""The REST API, the control panel, the event stream and static files."""
