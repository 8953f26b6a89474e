"""From the front of a search to figures that can be trusted: its networks trained again in full, with several seeds.

A search's accuracies are of short trainings, and the best of many are there partly by luck. A confirmation is a study
of its own (`nas.listed`), run by the same engine: the front, what is near it within noise, and networks drawn at random
at the same cost. Every training of it is read once on the test part.
"""

from nas.confirm.candidates import candidates
from nas.confirm.results import Confirmed, Report, report_of
from nas.confirm.running import confirm, confirmation

__all__ = ["Confirmed", "Report", "candidates", "confirm", "confirmation", "report_of"]
