"""Whether each system of the residual family is what its paper says: claims, predictions, measurements, verdicts.

A check measures a network that our plan makes against something that is not ours: a closed form, a published number, a
network written once more from the papers. `systems` lists the checks of each system; `running` asks them; `showing`
makes the table and the page. What a trained network does is measured by `nas.diagnosis`; nothing here searches.
"""
