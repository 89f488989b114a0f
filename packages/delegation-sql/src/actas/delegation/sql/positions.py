"""Places in a statement, as people count them."""


def place(statement: str, character: int | None) -> str:
    """`` at line 2, column 7`` for the 0-based index ``character`` of ``statement``; empty where it is unknown."""
    if character is None:
        return ""
    before = statement[:character]
    return f" at line {before.count(chr(10)) + 1}, column {character - before.rfind(chr(10))}"
