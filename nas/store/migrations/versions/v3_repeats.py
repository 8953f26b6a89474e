"""Further trainings of a trial with other seeds, and by how much refused points broke their constraints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """One more table, and two more columns."""
    op.create_table(
        "nas_repeat",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("study_id", "number", "seed", name="pk_nas_repeat"),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name="fk_nas_repeat_study_id"),
        sa.ForeignKeyConstraint(["evaluation_id"], ["nas_evaluation.id"], name="fk_nas_repeat_evaluation_id"),
    )
    op.create_index("ix_nas_repeat_evaluation_id", "nas_repeat", ["evaluation_id"])
    op.add_column("nas_infeasible", sa.Column("least", sa.Double(), nullable=True))
    op.add_column("nas_infeasible", sa.Column("most", sa.Double(), nullable=True))
