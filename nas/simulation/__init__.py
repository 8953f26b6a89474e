"""Searches that look results up instead of training: what a sampler, a scheduler and a number of workers are worth.

The same driver, samplers and early stopping as `nas run`, on a table of trained networks and a virtual clock.
"""

from nas.simulation.many import Setup, Simulation, simulate
from nas.simulation.table import Table, read_table, table_of

__all__ = ["Setup", "Simulation", "Table", "read_table", "simulate", "table_of"]
