"""Settings for all logical servers of a type, in waves: the commands, the job, and the waves."""
