__version__: str
llvm_version: str
OK: int
INVALID: int
OUT_OF_MEMORY: int
INTERNAL: int

def run(arguments: list[bytes], folder: bytes) -> tuple[int, bytes, bytes, bytes]:
    """Runs the compiler; returns its status, message, output and warnings. `folder`, if not empty, is removed
    unless the run succeeds."""

def command(arguments: list[bytes]) -> int:
    """The command adapter-opt, in a process of its own; returns its exit code."""
