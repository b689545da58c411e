"""What can go wrong with the local stack, as a sentence for the person in front of it."""


class StackError(OSError):
    """A part of the stack is missing, cannot be started, or has ended; the message says what to do."""
