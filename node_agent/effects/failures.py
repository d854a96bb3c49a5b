"""How the interpretation of an effect ends when it does not succeed."""


class EffectFailedError(Exception):
    """The box answered, and the answer is no; ``args[0]`` holds the daemon's or system's own words.

    The object behind the effect may be to blame.
    """


class RefusedForNowError(EffectFailedError):
    """The answer is no, and no object is to blame: it is tried again by itself."""


class BoxUnavailableError(Exception):
    """The box could not be asked: the daemon is down, the disk is full, a deadline passed.

    No object is to blame; the batch is held and tried again.
    """


class NotFinishedError(BoxUnavailableError):
    """What the daemon was told is not done when its time is over; it may still do it."""


class NoProgramError(BoxUnavailableError):
    """A program that an effect needs is not on the box, or not in its table."""


class UnknownFileError(EffectFailedError):
    """A file was asked for that the agent did not write: it is not even looked at (S3)."""


class BlockedError(BoxUnavailableError):
    """The daemon serves what it has read, and something on the box keeps changes out, such as a
    file that somebody broke: it is tried again, and goes on once a person has mended that.
    """


class KeyRefusedError(BlockedError):
    """The daemon runs and does not take the agent's key: it was started with another one."""


class DiskFullError(BoxUnavailableError):
    """Nothing more can be written: no space, no quota, or the file system went read-only."""
