"""How long a network takes on this machine: measured alone, kept, and predicted from its plan.

`rounds` times a step until it is sure, and says what disturbed it; `timing` does so with a network, which needs torch;
`records` keeps the figures of networks, `table` what predicts those of a space, and neither needs torch; `making`
measures the networks that a table is fitted to.
"""
