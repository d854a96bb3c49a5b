"""The cluster's own certificate authority: names, issuing, enrolment, policy, revocation.

Imports none of the other packages. What a certificate may say is decided here and nowhere else.
"""

__version__ = "0.1.0"
