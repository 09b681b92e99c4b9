"""What can be wrong with a kernel: one class for each kind of fault."""


class PtxError(RuntimeError):
    """A kernel did what it must not; the message says which thread did, and where."""


class UnknownInstructionError(PtxError):
    """The interpreter does not know an instruction: it never guesses."""


class OutOfBoundsError(PtxError):
    """An address outside every array, or a write to a read-only one."""


class MisalignedError(PtxError):
    """An address that is no multiple of the size of the access."""


class UninitialisedError(PtxError):
    """A read of memory that nobody has written."""


class RaceError(PtxError):
    """Two threads met in one place, one of them writing, and no barrier between."""


class DivergentBarrierError(PtxError):
    """Threads wait for others that never come."""
