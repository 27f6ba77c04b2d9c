"""Holds names and English to the rules that a script can check.

A docstring's first line is short, and neither a docstring nor an error opens with a relative clause. A function's docstring opens with a
verb in the third person (`Returns`; so ruff's D401, which wants `Return`, is off). Docstrings and errors avoid negated nouns (`is no
name`) and vague actors (`nobody`). No function is named by a bare participle (`told`). No two public classes have one name. A docstring's
first line is a whole sentence, and a sentence has one semicolon at most and few words.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "speculative"
LONGEST = 80
"""Characters of a docstring's first line."""

OPENING = re.compile(r"\W*(What|Who|Whose|That|Those|Whether|Which)\b")

UNCLEAR = re.compile(
    r"(?<![Tt]here )\b(?:is|are|was|were) (?:no|none)\b(?! longer\b| more\b)"
    r"|\b(?:[Nn]obody|[Ss]omebody|[Aa]nybody|[Ww]hoever|[Ww]hatever|so many)\b"
)
"""Negated nouns and vague actors: name the thing, and write "not" or "must"."""

WORDS = 38
"""Words of a sentence in a docstring at most; twenty are better. A name in code counts as one."""

PARTICIPLES = set(
    """asked found given heard held kept known lent looked made met named seen shown spelled taken told tried""".split()  # noqa: SIM905
)
"""Names that say nothing of what a function returns."""

COMMANDS = "cli"
"""The package whose functions without an underscore are commands: their docstrings are help texts, which speak to the user."""


def breaches(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields the line of each breach, and the rule that it breaks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.strip("_") in PARTICIPLES:
            yield node.lineno, f"a function is named by a bare participle: {node.name}"
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
            first = text.splitlines()[0]
            line = getattr(node, "lineno", 1)
            if len(first) > LONGEST:
                yield line, f"the first line of a docstring has {len(first)} characters, at most {LONGEST}: {first}"
            if first[-1] not in ".:":
                yield line, f"the first line of a docstring is not a whole sentence: {first}"
            for sentence in re.split(r"(?<=[.:])\s+|\n\s*\n|\n\s+", re.sub(r"`[^`]*`", "name", text)):
                if sentence.count(";") > 1 or len(sentence.split()) > WORDS:
                    yield line, f"a sentence of a docstring is too long: {' '.join(sentence.split()[:12])} …"
            if found := UNCLEAR.search(text):
                yield line, f"a docstring has unclear words: {found[0]}"
            if OPENING.match(first):
                yield line, f"a docstring opens with a relative clause: {first}"
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _speaks(node, first):
                yield line, f"a function's docstring does not open with a verb in the third person: {first}"
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            message = _text(node.exc.args[0])
            if OPENING.match(message):
                yield node.lineno, f"an error opens with a relative clause: {message}"
            if message.count(";") > 1:
                yield node.lineno, f"an error has more than one next step: {message}"
            if found := UNCLEAR.search(message):
                yield node.lineno, f"an error has unclear words: {found[0]}"


def _speaks(node: ast.FunctionDef | ast.AsyncFunctionDef, first: str) -> bool:
    """Returns whether the first word is a verb in the third person. A property is described as a thing."""
    decorators = {getattr(one, "id", getattr(one, "attr", "")) for one in node.decorator_list}
    return bool(decorators & {"property", "cached_property"}) or first.split()[0].rstrip(",.").endswith("s")


def _text(message: ast.expr) -> str:
    """Returns the literal text of a message, with `{}` for its values."""
    if isinstance(message, ast.JoinedStr):
        return "".join(_text(part) for part in message.values)
    if isinstance(message, ast.Constant):
        return str(message.value)
    return "{}"


def main() -> int:
    failed = 0
    classes = defaultdict[str, list[str]](list)
    for path in sorted(SOURCE.rglob("*.py")):
        tree, name = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(SOURCE)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].append(str(name))
        for line, told in breaches(tree):
            if name.parts[0] == COMMANDS and "third person" in told and not name.stem.startswith("_"):
                continue
            failed += 1
            print(f"src/speculative/{name}:{line}: {told}")
    for label, places in classes.items():
        if len(places) > 1:
            failed += 1
            print(f"the class {label} is defined in {len(places)} files: {', '.join(places)}")
    print(f"names and English: {failed} breaches")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
