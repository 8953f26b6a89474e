"""What `nas run` shows on the way: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nas.store import EpochRecord, State, TrialRecord
from nas.units import human_count, human_seconds

if TYPE_CHECKING:
    from nas.search.driver import Driver
    from nas.search.run import View

_ROWS = 8       # of the front in the live view


def view_of(console: Console, epochs: bool = False) -> View:
    """The view that suits `console`; `epochs`: a line for every epoch where lines are plain."""
    return LiveView(console) if console.is_terminal else PlainView(console, epochs)


class PlainView:
    """A line for each thing that happens."""

    def __init__(self, console: Console, epochs: bool = False):
        self.console, self.epochs = console, epochs

    def say(self, line: str) -> None:
        self._line(line)

    def began(self, driver: Driver) -> None:
        """Nothing more to say than the summary."""

    def epoch(self, driver: Driver, trial: TrialRecord, epoch: EpochRecord) -> None:
        if self.epochs:
            self._line(f"epoch {epoch.epoch:>3}  loss {epoch.train_loss:.3f}  accuracy {epoch.accuracy:.4f}  "
                       f"{human_seconds(epoch.seconds)}")

    def trial(self, driver: Driver, trial: TrialRecord) -> None:
        tried = f"{len(driver.trials)}" if driver.study.budget.trials is None else \
            f"{len(driver.trials)} of {driver.study.budget.trials}"
        self._line(f"[{tried}] {trial_line(trial)}")

    def ended(self) -> None:
        """Nothing to close."""

    def _line(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)


class LiveView:
    """The front so far, what runs, the counts and the time left, redrawn in place."""

    def __init__(self, console: Console):
        self.console = console
        self._live: Live | None = None

    def say(self, line: str) -> None:
        self.console.print(line, markup=False)

    def began(self, driver: Driver) -> None:
        started = time.monotonic()
        self._live = Live(get_renderable=lambda: _drawn(driver, started), console=self.console, refresh_per_second=4,
                          transient=True)
        self._live.start()

    def epoch(self, driver: Driver, trial: TrialRecord, epoch: EpochRecord) -> None:
        """Seen at the next redraw."""

    def trial(self, driver: Driver, trial: TrialRecord) -> None:
        if trial.state in (State.FAILED, State.OUT_OF_MEMORY):
            self.console.print(trial_line(trial), markup=False)

    def ended(self) -> None:
        if self._live is not None:
            self._live.stop()


def trial_line(trial: TrialRecord) -> str:
    """A trial in one line."""
    accuracy = f"{trial.accuracy:.4f}" if trial.accuracy is not None else "-"
    if trial.spread is not None:
        accuracy += f" ±{trial.spread:.4f} over {trial.seeds} seeds"
    reused = " reused" if trial.reused else ""
    ending = f"  ({trial.reason})" if trial.reason and trial.state is not State.PRUNED else ""
    return (f"trial {trial.number} {trial.state.lower()}{reused} at epoch {trial.epochs}: accuracy {accuracy}, "
            f"{human_count(trial.macs)} MACs, {human_count(trial.params)} params, "
            f"{human_seconds(trial.seconds)}  {trial.line}{ending}")


def counts_line(driver: Driver) -> str:
    """How the run stands, in one line."""
    states = driver.tally.states
    done = sum(trial.state.finished for trial in list(driver.trials.values()))
    failed = states[State.FAILED] + states[State.OUT_OF_MEMORY]
    parts = [f"{done} done", f"{states[State.PRUNED]} pruned", f"{failed} failed",
             f"{sum(found.count for found in driver.tally.infeasible.values())} infeasible",
             f"{driver.tally.reused} reused"]
    return ", ".join(parts)


def time_left(driver: Driver, elapsed: float) -> str:
    """What is left of the budget, or what the trials left will take at the pace so far."""
    budget, left = driver.study.budget, driver.allowance.seconds_left
    estimates = [left] if left != float("inf") else []
    untried = 0 if budget.trials is None else max(0, budget.trials - _done(driver))
    if budget.trials is not None and untried == 0 and not estimates:
        return "finishing the best"
    if untried and driver.tally.ended:
        estimates.append(elapsed / driver.tally.ended * untried)
    return f"about {human_seconds(max(0.0, min(estimates)))} left" if estimates else "time left: not known yet"


def _done(driver: Driver) -> int:
    return sum(trial.state.finished for trial in list(driver.trials.values()))


def _drawn(driver: Driver, started: float) -> RenderableType:
    elapsed = time.monotonic() - started
    head = Text(f"{driver.study.name}: {counts_line(driver)}; {human_seconds(elapsed)}, {time_left(driver, elapsed)}")
    front = Table("trial", "accuracy", "MACs", "params", "front so far", box=None, pad_edge=False)
    for trial in sorted(driver.front(), key=lambda t: -(t.accuracy or 0))[:_ROWS]:
        front.add_row(str(trial.number), f"{trial.accuracy:.4f}", human_count(trial.macs), human_count(trial.params),
                      Text(trial.line, overflow="ellipsis", no_wrap=True))
    running = Table("trial", "epoch", "accuracy", "MACs", "running", box=None, pad_edge=False)
    for trial, epoch in driver.running():
        running.add_row(
            str(trial.number), f"{epoch.epoch if epoch else 0}/{driver.study.recipe.epochs}",
            f"{epoch.accuracy:.4f}" if epoch else "-", human_count(trial.macs),
            Text(trial.line, overflow="ellipsis", no_wrap=True))
    return Group(head, Text(), front, Text(), running, Text("Ctrl-C stops; the same command goes on", style="dim"))
