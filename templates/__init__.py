"""What each service type is: its objects, its settings, and the files and effects they come to.

Pure code: no reactor, no clock, no disk but its own ``*.j2``. Each service type is one folder with
a ``service.py`` that exports one ``ServiceType`` record; it may import the modules that stand
directly in this package, never another service type.
"""
