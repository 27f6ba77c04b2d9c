"""Tasks of a developer: `nox -l` lists them. They run in the environment that nox is started from, which is that of the README."""

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "test"]


@nox.session
def test(session: nox.Session) -> None:
    """Run the quick tests; arguments after -- are pytest's."""
    session.run("pytest", "-q", "-n", "4", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the code, its imports, and its names and English."""
    for check in ("lint", "imports", "words"):
        session.run(".ci/check", check)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types."""
    session.run(".ci/check", "types")


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated pages and build the site into site/."""
    session.run(".ci/check", "docs")


@nox.session
def package(session: nox.Session) -> None:
    """Build and check the wheel and the sdist."""
    session.run(".ci/check", "package")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks that need no server; each file of bench/ tells what it measures."""
    for name in ("latency", "overhead", "growth", "engine"):
        session.run("python", f"bench/{name}.py")


@nox.session
def lock(session: nox.Session) -> None:
    """Write constraints.txt again; -- --upgrade takes the newest releases."""
    command = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--all-extras", "--no-annotate"]
    session.run(*command, *session.posargs, "pyproject.toml", "-o", "constraints.txt", external=True)


@nox.session
def everything(session: nox.Session) -> None:
    """Run all that has to pass before a change lands. On a new machine, .ci/run does the same without nox."""
    session.run(".ci/run", external=True)
