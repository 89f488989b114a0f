"""Runs a gateway's batch on a :class:`~.tds_session.TdsSession`: the outer T-SQL, statement by statement.

What it does not know is an error, never a guess.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from actas.testing.tds_session import ResultSet, SqlError, TdsSession, Token, lex
from actas.testing.tds_tokens import Cell


@dataclass(slots=True)
class _Reader:
    tokens: Sequence[Token]
    at: int = 0

    def peek(self, ahead: int = 0) -> str:
        index = self.at + ahead
        return self.tokens[index].text.upper() if index < len(self.tokens) else ""

    def take(self, *words: str) -> bool:
        if [self.peek(index) for index in range(len(words))] != list(words):
            return False
        self.at += len(words)
        return True

    def need(self, *words: str) -> None:
        if not self.take(*words):
            raise SqlError(102, f"Incorrect syntax near '{self.peek()}'.", 15)

    def next(self) -> Token:
        if self.at >= len(self.tokens):
            raise SqlError(102, "Incorrect syntax at the end.", 15)
        self.at += 1
        return self.tokens[self.at - 1]


@dataclass(slots=True)
class Batch:
    """One batch: give it its text, take the results as they come."""

    session: TdsSession
    text: str
    values: dict[str, object] = field(default_factory=dict[str, object])

    def run(self) -> Iterator[ResultSet]:
        """Every result, in order. Raises SqlError where the batch ends in one."""
        reader = _Reader(lex(self.text))
        while reader.at < len(reader.tokens):
            if reader.take(";"):
                continue
            if reader.take("BEGIN", "TRY"):
                yield from self._try(reader)
                continue
            try:
                yield from self._one(reader)
            except SqlError as error:
                if self.session.xact_abort or error.severity < 16 or error.number == 50000:
                    raise
                while reader.at < len(reader.tokens) and not reader.take(";"):
                    reader.at += 1  # without XACT_ABORT a batch goes on after such an error

    def _try(self, reader: _Reader) -> Iterator[ResultSet]:
        caught: SqlError | None = None
        try:
            while not reader.take("END", "TRY"):
                if not reader.take(";"):
                    yield from self._one(reader)
        except SqlError as error:
            caught = error
            while not reader.take("END", "TRY"):
                reader.next()
        reader.take(";")
        reader.need("BEGIN", "CATCH")
        while not reader.take("END", "CATCH"):
            if caught is None:
                reader.next()
            elif not reader.take(";"):
                if reader.take("THROW"):
                    raise caught
                yield from self._one(reader)

    def _one(self, reader: _Reader) -> Iterator[ResultSet]:
        if reader.take("SET"):
            self._set(reader)
        elif reader.take("USE"):
            reader.next()
        elif reader.take("DECLARE"):
            self._declare(reader)
        elif reader.peek() in ("EXEC", "EXECUTE") and reader.peek(1) == "AS":
            self._execute_as(reader)
        elif reader.take("REVERT"):
            self.session.revert(self._value(reader) if reader.take("WITH", "COOKIE", "=") else None)
        elif reader.take("IF"):
            yield from self._if(reader)
        elif reader.take("THROW"):
            number = int(reader.next().text)
            reader.need(",")
            raise SqlError(number, str(self._value(reader)))
        elif reader.take("EXEC", "SYS", ".", "SP_EXECUTESQL"):
            yield from self._executesql(reader)
        elif reader.take("SELECT"):
            yield self._select(reader)
        else:
            raise SqlError(102, f"Incorrect syntax near '{reader.peek()}'.", 15)

    def _set(self, reader: _Reader) -> None:
        if reader.peek().startswith("@"):
            name = reader.next().text
            reader.need("=")
            self.values[name.casefold()] = self._value(reader)
            return
        words = [reader.next().text.upper()]
        while reader.peek() not in ("", ";"):
            words.append(reader.next().text.upper())
        if "XACT_ABORT" in words:
            self.session.xact_abort = words[-1] == "ON"

    def _declare(self, reader: _Reader) -> None:
        while True:
            name = reader.next().text.casefold()
            self.values[name] = None
            depth = 0
            while (depth or reader.peek() not in ("", ";", ",", "=")) and reader.peek():
                depth += {"(": 1, ")": -1}.get(reader.next().text, 0)
            if reader.take("="):
                self.values[name] = self._value(reader)
            if not reader.take(","):
                return

    def _execute_as(self, reader: _Reader) -> None:
        reader.at += 2
        if not (reader.take("USER") or reader.take("LOGIN")):
            raise SqlError(102, "Incorrect syntax near 'AS'.", 15)
        reader.need("=")
        who = str(self._value(reader))
        if reader.take("WITH", "COOKIE", "INTO"):
            name = reader.next().text.casefold()
            self.values[name] = self.session.execute_as(who, cookie=True)
        else:
            self.session.execute_as(who, cookie=False, no_revert=reader.take("WITH", "NO", "REVERT"))

    def _if(self, reader: _Reader) -> Iterator[ResultSet]:
        true = self._condition(reader)
        while reader.take("OR"):
            true = self._condition(reader) or true
        if true:
            yield from self._one(reader)
        else:
            while reader.peek() not in ("", ";"):
                reader.next()

    def _condition(self, reader: _Reader) -> bool:
        left = self._value(reader)
        if reader.take("IS", "NULL"):
            return left is None
        if reader.take("IS", "NOT", "NULL"):
            return left is not None
        reader.need("<>")
        right = self._value(reader)
        if reader.take("COLLATE"):
            reader.next()
        return left != right

    def _executesql(self, reader: _Reader) -> Iterator[ResultSet]:
        text, values = str(self._value(reader)), dict[str, object]()
        if reader.take(","):
            self._value(reader)
            while reader.take(","):
                name = reader.next().text
                reader.need("=")
                values[name] = self._value(reader)
        result = self.session.statement(text, values)
        self.session.rowcount = result.count
        yield result

    def _select(self, reader: _Reader) -> ResultSet:
        names: list[str] = []
        row: list[Cell] = []
        while True:
            value = self._value(reader)
            row.append(value if isinstance(value, (str, int)) or value is None else str(value))
            names.append(reader.next().text.strip("[]") if reader.take("AS") else "")
            if not reader.take(","):
                return ResultSet(names, [row], 1)

    def _value(self, reader: _Reader) -> object:
        token = reader.next()
        word = token.text.upper()
        match token.kind:
            case "string":
                return token.text[token.text.index("'") + 1 : -1].replace("''", "'")
            case "number":
                return float(word) if not word.isdigit() else int(word)
            case "variable" if word == "@@ROWCOUNT":
                return self.session.rowcount
            case "variable" if token.text.casefold() in self.values:
                return self.values[token.text.casefold()]
            case "sign" if word == "-":
                value = self._value(reader)
                return -value if isinstance(value, (int, float)) else None
            case "word" if word == "NULL":
                return None
            case "word" if word in ("USER_NAME", "SUSER_SNAME", "ORIGINAL_LOGIN"):
                reader.need("(", ")")
                return self.session.login if word == "ORIGINAL_LOGIN" else self.session.user
            case _:
                raise SqlError(137, f"Must declare the scalar variable {token.text}.", 15)
