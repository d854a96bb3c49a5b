"""The web control panel: pages over the same commands that API and hsctl run.

Pages hold no SQL and decide nothing of the model: a room reads a form, runs a command as the
signed-in operator and shows its answer. May import `controller.commands`, `controller.runner`,
`controller.storage` (sessions, signing in) and `controller.web`.
"""
