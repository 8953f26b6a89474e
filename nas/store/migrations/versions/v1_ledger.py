"""The ledger's first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    """From nothing."""
    _studies()
    _evaluations()
    _trials()


def _studies() -> None:
    op.create_table(
        "nas_study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("seconds_spent", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_study"),
        sa.UniqueConstraint("name", name="uq_nas_study_name"),
    )
    op.create_table(
        "nas_infeasible",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("study_id", "name", name="pk_nas_infeasible"),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name="fk_nas_infeasible_study_id"),
    )


def _evaluations() -> None:
    op.create_table(
        "nas_architecture",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("canonical", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_architecture"),
    )
    op.create_table(
        "nas_evaluation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("architecture_id", sa.String(16), nullable=False),
        sa.Column("recipe_key", sa.String(64), nullable=False),
        sa.Column("data_key", sa.String(64), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("epochs_done", sa.Integer(), nullable=False),
        sa.Column("accuracy", sa.Double()),
        sa.Column("loss", sa.Double()),
        sa.Column("latency_ms", sa.Double()),
        sa.Column("params", sa.BigInteger(), nullable=False),
        sa.Column("macs", sa.BigInteger(), nullable=False),
        sa.Column("activations", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("checkpoint", sa.Text()),
        sa.Column("checkpoint_sha256", sa.String(64)),
        sa.Column("started", sa.DateTime(), nullable=False),
        sa.Column("finished", sa.DateTime()),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_evaluation"),
        sa.UniqueConstraint("key", name="uq_nas_evaluation_key"),
        sa.ForeignKeyConstraint(["architecture_id"], ["nas_architecture.id"], name="fk_nas_evaluation_architecture_id"),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name="fk_nas_evaluation_study_id"),
    )
    op.create_table(
        "nas_epoch",
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("train_loss", sa.Double()),
        sa.Column("loss", sa.Double()),
        sa.Column("accuracy", sa.Double()),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id", "epoch", name="pk_nas_epoch"),
        sa.ForeignKeyConstraint(["evaluation_id"], ["nas_evaluation.id"], name="fk_nas_epoch_evaluation_id"),
    )


def _trials() -> None:
    op.create_table(
        "nas_trial",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("point", sa.Text(), nullable=False),
        sa.Column("sampler_attrs", sa.Text(), nullable=False),
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("finished", sa.DateTime()),
        sa.PrimaryKeyConstraint("study_id", "number", name="pk_nas_trial"),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name="fk_nas_trial_study_id"),
        sa.ForeignKeyConstraint(["evaluation_id"], ["nas_evaluation.id"], name="fk_nas_trial_evaluation_id"),
    )
    op.create_index("ix_nas_trial_evaluation_id", "nas_trial", ["evaluation_id"])
