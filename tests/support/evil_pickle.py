"""What a pickle may do when it is loaded."""


class Evil:
    """Unpickling it creates a file: the code that ran."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")
