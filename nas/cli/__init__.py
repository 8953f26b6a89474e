"""The command line: a thin skin over the rooms below. Each command imports what it needs when it runs.

`nas --help` must answer at once: nothing heavy may be imported here.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nas.cli import confirm, control, diagnose, draw, look, measure, search, simulate, tools, use, verify

app = typer.Typer(
    name="nas", add_completion=False, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False,
    help="Find residual networks: from a YAML search space to a trained, exported Pareto front.",
    epilog="Start with: nas run search_spaces/resnext.yaml",
)


def _version(wanted: bool) -> None:
    if wanted:
        from nas import __version__

        typer.echo(f"nas {__version__}")
        raise typer.Exit


SEARCH, RESULTS, USE, TOOLS = "Search", "Look at results", "Use a network", "Tools"


@app.callback()
def nas(version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help=(
        "Print the version."))] = False) -> None:
    """See the help of the application."""


app.command("run", rich_help_panel=SEARCH)(search.run)
app.command("inspect", rich_help_panel=SEARCH)(look.inspect)
app.command("train", rich_help_panel=SEARCH)(search.train)
app.command("confirm", rich_help_panel=SEARCH)(confirm.confirm)
app.command("stop", rich_help_panel=SEARCH)(control.stop)
app.command("retry", rich_help_panel=SEARCH)(control.retry)
app.command("status", rich_help_panel=RESULTS)(look.status)
app.command("report", rich_help_panel=RESULTS)(look.report)
app.command("export", rich_help_panel=RESULTS)(look.export)
app.command("diagnose", rich_help_panel=RESULTS)(diagnose.diagnose)
app.command("draw", rich_help_panel=RESULTS)(draw.draw)
app.command("measure", rich_help_panel=RESULTS)(measure.measure)
app.command("dashboard", rich_help_panel=RESULTS)(look.dashboard)
app.command("predict", rich_help_panel=USE)(use.predict)
app.command("evaluate", rich_help_panel=USE)(use.evaluate)
app.command("simulate", rich_help_panel=TOOLS)(simulate.simulate)
app.command("verify", rich_help_panel=TOOLS)(verify.verify)
app.command("bench", rich_help_panel=TOOLS)(tools.bench)
app.command("schema", rich_help_panel=TOOLS)(tools.schema)


def command() -> Any:
    """The whole command line as one click command."""
    return typer.main.get_command(app)
