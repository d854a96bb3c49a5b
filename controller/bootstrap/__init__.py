"""Enrolment over SSH: log in to a new box once, install the agent, enrol and start it (A14, M4).

Above `controller.storage` and the fleet's events, below the commands, which know only the records
in `job`. The password lives in the job alone: it is used for one login and written nowhere.
"""
