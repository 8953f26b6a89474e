"""What a search found, to look at: figures, one self-contained HTML page, front.csv and a table for the terminal.

Everything is drawn from a plain `Results`; where it comes from (a database, a test) is no concern of this package.
"""

from nas.report.effects import effects_figure, importance, importance_figure
from nas.report.figures import curves_figure, front_figure, hypervolume_figure
from nas.report.page import write_report
from nas.report.payload import payload
from nas.report.results import COLUMNS, EPOCH_COLUMNS, STATES, Results, front
from nas.report.tables import front_csv, terminal_front

__all__ = [
    "COLUMNS", "EPOCH_COLUMNS", "STATES", "Results", "curves_figure", "effects_figure", "front", "front_csv",
    "front_figure", "hypervolume_figure", "importance", "importance_figure", "payload", "terminal_front",
    "write_report",
]
