"""What a training gave on the test part, and when that was read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Three more columns."""
    op.add_column("nas_evaluation", sa.Column("test_accuracy", sa.Double(), nullable=True))
    op.add_column("nas_evaluation", sa.Column("test_loss", sa.Double(), nullable=True))
    op.add_column("nas_evaluation", sa.Column("tested", sa.DateTime(), nullable=True))
