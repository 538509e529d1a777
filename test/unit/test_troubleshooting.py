"""Every message that a person can meet is found on the troubleshooting page, with what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'nemotron_ros'
PAGE = ROOT / 'docs/troubleshooting.md'

# What is raised and is no message to a person, and why.
NOT_TOLD = {
    'AssertionError': 'a mistake in the code, not in what it was given',
    'FormatError': 'told to the model, and to a person as what the model has written wrong',
    'InvalidParameterValueException': 'the simulated robot: rclpy tells it with the parameter',
    'Parsed': 'no error',
    'TypeError': 'a mistake in the code, not in what it was given',
    '_LeftOut': 'counted by nemotron dataset export',
    '_NoUse': 'a remark in the draft of a tool file',
    '_Refused': 'told by ConvertError, with the field',
    'kind': 'the class is chosen: OutputError or EngineError',
}
# The first argument says by which rule, or where.
WITH_A_PLACE_FIRST = {'Denied', 'Fault'}
NO_TROUBLE = {'nemotron mcp: serving at ...'}
HOLE = '...'
# Where the messages are told with the file and the line that they are about.
WITH_A_LINE = (
    'evaluation/scenario.py', 'tools/entries.py', 'tools/plugins.py', 'tools/read_entries.py',
    'tools/rule_entries.py', 'tools/templates.py', 'tools/tool_file.py', 'tools/yaml_lines.py',
)  # fmt: skip


@dataclass(frozen=True)
class Message:
    """A message, with ``...`` where something is named, and where it comes from."""

    text: str
    where: str

    def __str__(self) -> str:
        return f'{self.where}: {self.text}'


def texts(node: ast.AST | None, names: dict[str, list[ast.expr]]) -> Iterator[str]:
    """Yield what a message may be, by the expression that makes it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.Constant) else HOLE for v in node.values)
        yield ''.join(map(str, parts))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for left in [*texts(node.left, names)] or [HOLE]:
            for right in [*texts(node.right, names)] or [HOLE]:
                yield left + right
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body, names)
        yield from texts(node.orelse, names)
    elif isinstance(node, ast.List | ast.Tuple):
        for item in node.elts:
            yield from texts(item, names)
    elif isinstance(node, ast.ListComp | ast.GeneratorExp):
        yield from texts(node.elt, names)
    elif isinstance(node, ast.Name):
        for value in names.pop(node.id, []):  # a name that is made of itself ends here
            yield from texts(value, names)


def assigned(function: ast.AST) -> dict[str, list[ast.expr]]:
    """Return what each name of a function may be."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
    return found


def told(node: ast.AST) -> list[ast.expr]:
    """Return the expressions of a statement or call that become a message."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        name = getattr(node.exc.func, 'id', getattr(node.exc.func, 'attr', ''))
        arguments = list(node.exc.args)
        return [] if name in NOT_TOLD else arguments[name in WITH_A_PLACE_FIRST :]
    if isinstance(node, ast.Call):
        name = getattr(node.func, 'id', getattr(node.func, 'attr', ''))
        if name in ('ToolResult', 'Outcome'):
            return [word.value for word in node.keywords if word.arg == 'error']
        to_stderr = any(word.arg == 'file' for word in node.keywords)
        return list(node.args) if name == 'print' and to_stderr else []
    return []


def messages() -> Iterator[Message]:
    """Yield every message of the package."""
    for path in sorted(PACKAGE.rglob('*.py')):
        tree = ast.parse(path.read_text())
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        for function in functions:
            for node in ast.walk(function):
                for expression in told(node):
                    for text in texts(expression, assigned(function)):
                        line = getattr(node, 'lineno', 0)
                        if path.relative_to(PACKAGE).as_posix() in WITH_A_LINE:
                            text = f'FILE:LINE: {text}'
                        yield Message(text, f'{path.relative_to(ROOT)}:{line}')


def worth_a_row(message: Message) -> bool:
    """Whether words of ours are in it, beside what it passes on."""
    if message.text in NO_TROUBLE:
        return False
    words = re.sub(r'^nemotron \w+( \w+)?: |\.\.\.', '', message.text)
    return len(re.findall(r'[A-Za-z]{2,}', words)) > 1


FOUND = sorted({m.text: m for m in messages() if worth_a_row(m)}.values(), key=str)


def rows() -> Iterator[tuple[list[str], str]]:
    """Yield the rows of the page: the messages as they stand there, and what to do."""
    for line in PAGE.read_text().splitlines():
        cells = re.split(r'(?<!\\)\|', line.strip().strip('|'))
        if line.startswith('| `') and len(cells) == 2:
            yield re.findall(r'`([^`]+)`', cells[0]), cells[1].strip()


PATTERNS = [pattern for patterns, _ in rows() for pattern in patterns]


def source() -> str:
    """Return what makes the messages that are not found by their kind, in one line each."""
    files = [*PACKAGE.rglob('*.py'), *(ROOT / 'scripts').glob('*.[bp]*')]
    # A message may go over several lines of the source.
    text = re.sub(r"'\s*\n\s*f?'", '', '\n'.join(file.read_text() for file in files))
    return text.replace('{APT}', 'sudo apt-get install')


SOURCE = source()


def fits(pattern: str, text: str) -> bool:
    """Whether a message is one that a pattern of the page stands for."""
    parts = (re.escape(part.strip()) for part in pattern.split(HOLE))
    return re.search(r'[\s\S]*?'.join(parts), text) is not None


def test_every_message_is_on_the_page() -> None:
    assert len(FOUND) > 300
    missing = [str(m) for m in FOUND if not any(fits(pattern, m.text) for pattern in PATTERNS)]
    assert missing == [], 'each needs a row in docs/troubleshooting.md that says what to do'


def test_every_row_says_what_to_do() -> None:
    assert [patterns for patterns, what in rows() if len(what) < 10] == []


def test_every_row_is_about_messages_of_ours() -> None:
    """Each is made somewhere, and none fits so much that it tells a reader nothing."""
    elsewhere = [m for m in FOUND if not m.text.startswith('FILE:LINE: ')]
    for pattern in PATTERNS:
        assert sum(fits(pattern, m.text) for m in elsewhere) < len(elsewhere) / 4, pattern
        pieces = [piece.strip() for piece in pattern.split(HOLE)]
        assert any(fits(pattern, m.text) for m in FOUND) or all(p in SOURCE for p in pieces), (
            f'{pattern}: nothing of ours says so'
        )


def test_a_message_that_is_new_is_missed() -> None:
    assert not any(fits(pattern, 'the moon is made of cheese') for pattern in PATTERNS)


def test_the_ways_in_which_a_message_is_made_are_seen() -> None:
    source = """
def f(x):
    why = f'first {x}' if x else 'second one'
    more = 'third ' + why
    raise EngineError(more)
    raise ToolFileError([f'{x}: fourth one', 'fifth one'])
    raise FormatError('told to the model')
    return ToolResult(1, error=f'sixth {x} of {x}')
    print('seventh one', file=sys.stderr)
    print('an answer')
"""
    function = ast.parse(source).body[0]
    found = [
        text
        for node in ast.walk(function)
        for expression in told(node)
        for text in texts(expression, assigned(function))
    ]
    assert sorted(found) == [
        '...: fourth one', 'fifth one', 'seventh one', 'sixth ... of ...',
        'third first ...', 'third second one',
    ]  # fmt: skip
