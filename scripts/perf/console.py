"""The console of a server whose input and output are pipes."""


def answer(output: bytes) -> bytes:
    """The answer at the beginning of the output, or nothing if it is not whole.

    An empty line ends it. Releases before 0.2.0 print their prompt, at the start and after each
    answer.
    """
    text = output.removeprefix(PROMPT)
    is_whole = text.strip() and text.endswith((PROMPT, b"\n\n"))
    return text if is_whole else b""


PROMPT = b">>>>: "
