"""What goes wrong, in words that a model may read. SQLite's own text goes into ``detail``, for the log."""

from actas.core import DelegationError


class NotebookFull(DelegationError):
    """The user has as many notes as the settings allow."""

    code = "notes_full"
    default_message = "You have as many notes as you may have. Delete some, then try again."


class NotebookUnreadable(DelegationError):
    """The user's file is none of ours, belongs to somebody else, or is damaged."""

    code = "notes_unreadable"
    default_message = "Your notes cannot be read. Ask the operator; trying again does not help."
