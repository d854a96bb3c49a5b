"""The boxes of the cluster: fields, intents, enrolment, retirement, and what is asked of them."""
