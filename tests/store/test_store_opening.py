"""Opening a database: URLs, drivers, files, network file systems, versions; and what is said when it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_cases import epoch, start

from nas.errors import NasError
from nas.store import Ledger, State, StoreError, engine, migrations, mounts
from nas.store.tables import Base

MOUNTS = r"""
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb /home/local xfs rw 0 0
//nas/share /mnt/my\040share cifs rw 0 0
me@host:/ /mnt/ssh fuse.sshfs rw 0 0
/dev/sdc /mnt/over ext4 rw 0 0
fs:/x /mnt/over lustre rw 0 0
overlay /var overlay rw 0 0
broken
"""


@pytest.mark.parametrize(("path", "kind"), [
    ("/tmp/nas.db", None), ("/home/me/studies/nas.db", "nfs4"), ("/home/local/nas.db", None), ("/homework/x", None),
    ("/mnt/my share/a/b.db", "cifs"), ("/mnt/ssh/x.db", "fuse.sshfs"), ("/mnt/over/x.db", "lustre"), ("/var/x", None),
])
def test_network_file_systems_are_known(tmp_path: Path, path: str, kind: str | None) -> None:
    listing = tmp_path / "mounts"
    listing.write_text(MOUNTS)
    found = mounts.network_mount(Path(path), listing)
    assert (found.kind if found else None) == kind
    assert mounts.network_mount(Path(path), tmp_path / "none") is None


def test_sqlite_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "network_mount", lambda path: mounts.Mount("/home", "nfs4"))
    line = refused(f"sqlite:///{tmp_path}/nas.db")
    assert "network file system (nfs4 at /home)" in line
    assert "--storage postgresql://" in line
    assert not (tmp_path / "nas.db").exists()


def refused(url: str, create: bool = True) -> str:
    """What is said when `url` cannot be opened: one line."""
    with pytest.raises(NasError) as caught:
        Ledger.open(url, create)
    line = str(caught.value)
    assert "\n" not in line
    assert line.isprintable()
    return line


def test_kinds_of_urls(tmp_path: Path) -> None:
    assert engine.parse_url("postgresql://u:p@h/d").drivername == "postgresql+psycopg"
    assert engine.parse_url("postgres://u:p@h/d").drivername == "postgresql+psycopg"
    assert engine.parse_url("postgresql+pg8000://u:p@h/d").drivername == "postgresql+pg8000"
    assert engine.parse_url("sqlite:///~/x.db").database == str(Path.home() / "x.db")
    path = tmp_path / "new folder" / "100% {x}.db"
    with Ledger.open(str(path)) as ledger:
        assert sa.make_url(str(ledger)).database == str(path)
    assert path.exists()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    assert "not a database URL" in refused("http//:x://")
    for url in ("sqlite://", "sqlite:///:memory:"):
        assert "needs a file" in refused(url)
    assert "no such kind" in refused("oracool://x/y")
    assert "is a folder" in refused(f"sqlite:///{tmp_path}")
    assert "cannot make the folder" in refused("sqlite:////proc/nowhere/nas.db")
    (tmp_path / "file").write_text("x")
    assert "cannot make the folder" in refused(f"sqlite:///{tmp_path}/file/nas.db")
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 100)
    assert "file is not a database" in refused(f"sqlite:///{tmp_path}/text.db")
    assert "there is no database at" in refused(f"sqlite:///{tmp_path}/none.db", create=False)
    assert not (tmp_path / "none.db").exists()


def test_a_database_without_studies_is_not_made_one_by_looking(url: str) -> None:
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).touch()
    assert "holds no studies" in refused(url, create=False)
    Ledger.open(url).close()
    Ledger.open(url, create=False).close()


def test_a_database_that_cannot_be_written(tmp_path: Path) -> None:
    Ledger.open(f"sqlite:///{tmp_path}/nas.db").close()
    with (Ledger.open(f"sqlite:///file:{tmp_path}/nas.db?mode=ro&uri=true") as ledger,
          pytest.raises(StoreError, match="readonly database; make the file and its folder writable")):
        ledger.create_study("s", {})


def test_a_lock_that_is_never_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.2)
    with Ledger.open(f"{tmp_path}/nas.db") as holder, Ledger.open(f"{tmp_path}/nas.db") as ledger:
        ledger.create_study("s", {})
        with holder.batch():
            assert ledger.studies()
            with pytest.raises(StoreError, match="database is locked; another process held it"):
                ledger.create_study("t", {})
        ledger.create_study("t", {})


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with Ledger.open(f"{tmp_path}/nas.db") as ledger:
        ledger.create_study("s", {})
        start(ledger, 0)
        with ledger.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        full = sa.event.listens_for(ledger.engine, "begin")
        full(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(StoreError, match="disk is full; make room, then run the same command again"):
            ledger.create_study("t", {"x": "y" * 100_000})
    with Ledger.open(f"{tmp_path}/nas.db") as ledger:
        ledger.finish_trial("s", 0, State.COMPLETE, "", epoch(1))
        with ledger.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_how_sqlite_is_written(tmp_path: Path) -> None:
    with Ledger.open(f"{tmp_path}/nas.db") as ledger, ledger.reading() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                   for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}
    assert pragmas == {"journal_mode": "delete", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 60_000}


def test_a_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install 'nas[postgres]'" in refused("postgresql://me:s3cret@localhost/nas")


@pytest.mark.parametrize("url", [
    "postgresql://me:s3cret%2F@localhost:1/nas", "postgresql://me@localhost:1/nas?password=s3cret%2F",
    "postgresql://me:s3cret%2F@no.such.host.invalid/nas", "mysql://me:s3cret%2F@localhost/nas",
    "postgresql://me:s3cret%2F@localhost:port/nas", "postgresql://me:s3cret%2F@localhost:1/nas?bad_option=s3cret",
    "wrong://me:s3cret%2F@localhost/nas",
])
def test_a_password_is_never_shown(url: str) -> None:
    with pytest.raises(NasError) as caught:
        Ledger.open(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in f"{error}{error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.slow
def test_a_password_is_not_in_what_is_printed(postgres_url: str) -> None:
    url = sa.make_url(postgres_url).set(password="s3cret").render_as_string(hide_password=False)
    with Ledger.open(url) as ledger:        # the server trusts whoever comes
        assert "s3cret" not in f"{ledger}{ledger!r}"
        with pytest.raises(StoreError) as caught:
            ledger.trials("nope")
        assert "s3cret" not in str(caught.value)


@pytest.mark.slow
def test_a_database_that_is_not_there(postgres_url: str) -> None:
    assert "does not exist; make it with createdb" in refused(
        sa.make_url(postgres_url).set(database="no_such").render_as_string(hide_password=False))


def test_tables_are_what_the_migrations_make(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert tuple(step.revision for step in script.walk_revisions())[::-1] == migrations.REVISIONS
    with Ledger.open(url) as ledger:
        migrations.upgrade(ledger.engine)
        with ledger.reading() as connection:
            context = MigrationContext.configure(connection, opts={
                "version_table": migrations.VERSION_TABLE, "compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
            assert migrations.version(connection) == migrations.HEAD


def test_a_newer_database_is_refused(url: str) -> None:
    with Ledger.open(url) as ledger, ledger.writing() as connection:
        connection.execute(sa.text("UPDATE nas_alembic_version SET version_num = '99'"))
    for create in (True, False):
        assert "written by a newer nas (its version is 99" in refused(url, create)


def test_opening_a_current_database_is_light(tmp_path: Path) -> None:
    Ledger.open(f"{tmp_path}/nas.db").close()
    code = ("import sys; from nas.store import Ledger; Ledger.open(sys.argv[1]).close(); "
            "print([m for m in ('alembic', 'optuna', 'torch', 'ray', 'psycopg') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code, f"{tmp_path}/nas.db"], capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert done.stdout.strip() == "[]"
