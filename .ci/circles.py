"""Finds circles of imports between files, imports for type checkers included."""

import sys

import grimp


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """Returns the sets of modules that import each other, by Tarjan's algorithm."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            if imported not in number:
                visit(imported)
                lowest[module] = min(lowest[module], lowest[imported])
            elif imported in stack:
                lowest[module] = min(lowest[module], number[imported])
        if lowest[module] == number[module]:
            place = stack.index(module)
            if len(circle := stack[place:]) > 1:
                found.append(circle)
            del stack[place:]

    for module in sorted(graph.modules):
        if module not in number:
            visit(module)
    return found


def main() -> int:
    found = circles(grimp.build_graph("speculative", cache_dir=None))
    for circle in found:
        print(f"these files import each other: {', '.join(circle)}")
    print(f"{len(found)} circles of imports")
    return 1 if found else 0


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    sys.exit(main())
