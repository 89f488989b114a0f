"""The commands, their options and their exit codes.

Exit codes: 0 all is well; 1 the configuration, the token or the server is not; 2 the command line is not.
"""

import json
import sys
from enum import IntEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, cast

import typer

from actas.cli.kinds import KindName
from actas.core import ActasError, ConfigurationError

app = typer.Typer(
    name="actas",
    help="MCP tools that act as the user who called them.\n\nNew here? [bold]actas demo[/bold] shows it all.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)

Config = Annotated[Path, typer.Argument(help="The configuration: a .toml or .json file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class Exit(IntEnum):
    """What the shell gets."""

    OK = 0
    PROBLEM = 1


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """MCP tools that act as the user who called them."""
    if show_version:
        typer.echo(f"actas {version('actas')}")
        raise typer.Exit(Exit.OK)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Show it and exit, instead of serving on.")] = False,
    port: Annotated[int, typer.Option(help="The MCP server's port; 0 takes a free one.", min=0, max=65535)] = 8080,
) -> None:
    """Watch two users call the same tool and get their own rows.

    Starts an identity provider, a PostgreSQL with row-level security and an MCP server, all on this
    machine and for this run only; then calls the server as alice, bob and a guest over HTTP.
    Needs: pip install "actas[demo]"
    """
    from actas.cli.demo import run_demo

    run_demo(once=once, port=port)


@app.command()
def run(
    context: typer.Context,
    config: Config,
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Serve one caller over standard input and output, instead of HTTP.")
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="ACTAS_TOKEN",
            help="With --stdio: the caller's access token; better set in the environment.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="ACTAS_TOKEN_FILE",
            help="With --stdio: a file that holds the token, read for every request so that it can be renewed.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Running calls are finished first, for drain_timeout at most; a second signal stops at once. SIGHUP
    reads the configuration anew, and so does a change of its file; an invalid one changes nothing.
    The log goes to standard error; the audit goes where the configuration says.
    """
    from actas.cli.run import serve, serve_stdio

    written = [name for name in ("token", "token_file") if _is_written(context, name)]
    if written and not stdio:
        raise typer.BadParameter("--token and --token-file say who calls over --stdio; over HTTP every request does")
    if stdio:
        serve_stdio(config, token=token, token_file=token_file)
    else:
        serve(config)


def _is_written(context: typer.Context, name: str) -> bool:
    """Whether the option stands on the command line, and not in the environment, which other commands share."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@app.command()
def check(
    config: Config,
    as_json: AsJson = False,
    live: Annotated[
        bool, typer.Option("--live", help="Also ask the identity providers and the systems behind the tools.")
    ] = False,
) -> None:
    """Say everything that is wrong with a configuration.

    Without --live nothing is contacted and nothing is started. Exits with 1 where something is wrong.
    """
    from actas.cli.check import check_configuration

    raise typer.Exit(Exit.OK if check_configuration(config, as_json=as_json, live=live) else Exit.PROBLEM)


@app.command()
def whoami(
    config: Config,
    token: Annotated[
        str,
        typer.Option(
            envvar="ACTAS_TOKEN",
            help="The access token, or - to read it from standard input (others can see a command line).",
            show_default=False,
            show_envvar=True,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Who a token is here, what it may call, and who it becomes in each module."""
    from actas.cli.whoami import explain_token

    raise typer.Exit(Exit.OK if explain_token(config, _token(token), as_json=as_json) else Exit.PROBLEM)


@app.command()
def explain(
    context: typer.Context,
    config: Config,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ACTAS_TOKEN",
            help="The access token, or - to read it from standard input (others can see a command line).",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    session: Annotated[
        Path | None,
        typer.Option(help="A .toml or .json file that describes a session, in a token's place.", show_default=False),
    ] = None,
    tool: Annotated[str | None, typer.Option(help="Only this tool: exits with 0 where it may be called.")] = None,
    arguments: Annotated[
        str | None, typer.Option(help="What the tool would be called with, as a JSON object.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Why is somebody allowed, or refused?

    From claims to roles, permissions, tools, what policies say, and who it is in each module. Nothing is called.
    Exits with 1 where the token or the session is refused, or the tool may not be called.
    """
    from actas.cli.explain import Caller
    from actas.cli.explain import explain as explained

    source = context.get_parameter_source("token")
    if session is not None and source is not None and source.name == "ENVIRONMENT":
        token = None  # it is there for all commands, and not meant here
    if (token is None) == (session is None):
        raise typer.BadParameter("give one of --token and --session")
    if arguments is not None and tool is None:
        raise typer.BadParameter("--arguments goes with --tool")
    caller = Caller(token=None if token is None else _token(token), session=session)
    good = explained(config, caller, tool=tool, arguments=_object(arguments), as_json=as_json)
    raise typer.Exit(Exit.OK if good else Exit.PROBLEM)


def _token(given: str) -> str:
    return (sys.stdin.read() if given == "-" else given).strip()


def _object(text: str | None) -> dict[str, object] | None:
    if text is None:
        return None
    try:
        made = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter("--arguments is no JSON") from error
    if not isinstance(made, dict):
        raise typer.BadParameter("--arguments must be a JSON object")
    return cast("dict[str, object]", made)


@app.command()
def revoke(
    config: Config,
    sub: Annotated[
        str | None, typer.Option(help="A user: the session's subject, or the token's sub; or an agent.")
    ] = None,
    jti: Annotated[str | None, typer.Option(help="One token, by its jti.")] = None,
    sid: Annotated[str | None, typer.Option(help="A session at the provider, by its sid.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Only of this issuer; of any where it is left out.")] = None,
    until: Annotated[str | None, typer.Option(help="When it ends: ISO 8601 with a time zone.")] = None,
    span: Annotated[str | None, typer.Option("--for", help="How long it lasts: 90m, 12h, 7d.")] = None,
    show: Annotated[bool, typer.Option("--list", help="Show what is revoked, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Refuse a user, a session or a token from now on, though the token is good.

    Appends to the file in auth.revocation, which every server of this configuration heeds within seconds. Without
    --until and --for it is for good. Take the line out of the file to take it back.
    """
    from actas.cli.revoke import end_of, show_revoked, write_down
    from actas.oauth.denylist import DeniedClaim, Revocation

    named: tuple[tuple[DeniedClaim, str | None], ...] = (("sub", sub), ("jti", jti), ("sid", sid))
    given: list[tuple[DeniedClaim, str]] = [(claim, value) for claim, value in named if value]
    if show:
        if given or issuer or until or span:
            raise typer.BadParameter("--list changes nothing: give it alone")
        show_revoked(config, as_json=as_json)
        return
    if len(given) != 1:
        raise typer.BadParameter("one of --sub, --jti and --sid is needed")
    try:
        ends = end_of(until, span)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    claim, value = given[0]
    write_down(config, Revocation(claim=claim, value=value, issuer=issuer or None, until=ends), as_json=as_json)


@app.command()
def plugins(
    config: Annotated[
        Path | None, typer.Argument(help="A configuration: those that it names are tried.", show_default=False)
    ] = None,
    load: Annotated[bool, typer.Option("--load", help="Try all that are installed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Which plug-ins are installed, by whom, and how they are.

    Without CONFIG and --load none of them is imported. Exits with 1 where one that CONFIG names cannot be used;
    without CONFIG, where any cannot.
    """
    from actas.cli.plugins import show_plugins

    raise typer.Exit(Exit.OK if show_plugins(config, load_all=load, as_json=as_json) else Exit.PROBLEM)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What it is called: lower-case words with hyphens.", show_default=False)],
    kind: Annotated[KindName, typer.Option(help="What stands behind it.")] = KindName.CUSTOM,
) -> None:
    """Begin a plug-in: a whole distribution that works, with tests that attack it.

    Writes the new folder NAME, or nothing. As it is, it installs, passes its tests, type-checks and lints clean; the
    places to change are marked EDIT, and listed in its README.
    """
    from actas.cli.new import new_plugin

    new_plugin(name, kind)


def main() -> None:
    """The console script: every error of ours is told in plain words, with what to do next."""
    try:
        app()
    except ConfigurationError as error:
        from actas.cli.output import show_problems

        show_problems(error.problems)
        sys.exit(Exit.PROBLEM)
    except ActasError as error:
        typer.echo(f"{error.message} (code {error.code})", err=True)
        if error.detail:
            typer.echo(error.detail, err=True)
        sys.exit(Exit.PROBLEM)
    except ModuleNotFoundError as error:
        extra = "demo" if "demo" in sys.argv[1:2] else "server"
        typer.echo(f'This command needs {error.name}, which is not installed: pip install "actas[{extra}]"', err=True)
        sys.exit(Exit.PROBLEM)
