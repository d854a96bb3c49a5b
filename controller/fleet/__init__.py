"""The agents' side of the controller: enrolment, sessions, dispatch, acknowledgement, liveness.

`fleet.Fleet` is what the composition root builds and what commands speak to. What is decided from
values stands apart and pure: `lanes` (may this lane go on), `repair` (what differs), `conditions`
(what a box is called), `liveness` (how often to speak). Imports the wire, pki and storage.
"""
