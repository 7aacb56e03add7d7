"""touchstone: the command line."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError

from app import cli_backups, cli_benchmarks, cli_keys, cli_models, doctor, processes, serving, startup, tables  # noqa: F401  the metadata must be whole before the first query
from app.accounts import second_factor, sessions
from app.accounts import service as accounts
from app.accounts.models import Group, Role
from app.cli_filter import with_filter
from app.core.config import get_settings
from app.core.db import reading_one_state, writing
from app.core.errors import DomainError, Invalid
from app.core.migrate import migrate_database
from app.core.queue import Queue
from app.datasets import files, hub
from app.datasets import service as datasets
from app.datasets.exports import FORMS, ExportForm, check_form
from app.datasets.models import Snapshot, SnapshotKind
from app.datasets.schemas import SnapshotFilter
from app.projects import service as projects
from app.prompts.models import Split
from app.simulation import labelers as simulation

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Touchstone: people's judgment to a better model, and back.",
)
user = typer.Typer(no_args_is_help=True, help="People.")
app.add_typer(user, name="user")
app.add_typer(cli_models.app, name="models")
app.add_typer(cli_benchmarks.app, name="benchmarks")
app.command()(cli_backups.backup)
app.command()(cli_backups.restore)
app.command()(cli_keys.rotate_key)


@app.command()
def up() -> None:
    """Run everything on this machine: Redis, web, worker and scheduler, until Ctrl-C."""
    startup.up(get_settings(), typer.echo)


@app.command()
def web(fd: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    """Run the web process."""
    serving.serve(get_settings(), fd)


@app.command()
def worker(
    queue: Annotated[Queue, typer.Option(help="Runs, episodes for runs elsewhere, imports, or questions alone.")] = (
        Queue.touchstone
    ),
) -> None:
    """Run a worker: one process, one thing at a time, on the GPU when there is one."""
    processes.become_worker(get_settings(), queue)


@app.command()
def scheduler() -> None:
    """Run the scheduler, which hands on the runs of workers that died and sends lost messages again."""
    processes.become_scheduler()


@app.command("doctor")
def examine() -> None:
    """Say what is wrong with the set-up, and how to mend it."""
    findings = doctor.examine(get_settings())
    typer.echo(doctor.report(findings))
    raise typer.Exit(code=int(doctor.is_wrong(findings)))


@app.command()
def migrate() -> None:
    """Bring the database to this version's tables."""
    typer.echo(f"The database is at {migrate_database()}.")


@user.command("add")
def add_user(
    email: str,
    name: Annotated[str, typer.Option(help="The name colleagues know.")] = "",
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.labeler,
    group: Annotated[Group, typer.Option(help="Held-out labelers only evaluate.")] = Group.training,
) -> None:
    """Invite a person: prints a one-time link with which they choose a password."""
    with writing() as session:
        person = accounts.add_person(session, email, name=name or email.split("@")[0], role=role, group=group)
        link = accounts.new_sign_in_link(session, person)
    typer.echo(f"{person.name} ({role.value}) can sign in once with {get_settings().address}{link}")


@user.command("link")
def link_user(email: str) -> None:
    """Make a new one-time link for a person who is here already."""
    with writing() as session:
        person = accounts.person_by_email(session, email)
        link = accounts.new_sign_in_link(session, person)
    typer.echo(f"{get_settings().address}{link}")


@user.command("reset-second-factor")
def reset_second_factor(email: str) -> None:
    """Turn off the second factor of a person who lost it. They sign in with their password and set it up anew."""
    with writing() as session:
        person = accounts.person_by_email(session, email)
        second_factor.reset(session, person, by=None)
        ended = sessions.end_sessions(session, person)
    typer.echo(f"{person.name} has no second factor any more, and was signed out ({ended} sign-ins).")


ProjectOption = Annotated[str, typer.Option("--project", help="Its address; not needed when there is only one.")]


@app.command("export")
@with_filter
def export_dataset(
    kind: SnapshotKind,
    out: Annotated[Path, typer.Argument(help="A new file that ends in .jsonl, .csv or .parquet.")],
    project: ProjectOption = "",
    form: Annotated[ExportForm | None, typer.Option(help="TRL's standard form when left out.")] = None,
    split: Annotated[Split | None, typer.Option(help="Of what is frozen, write one split only.")] = None,
    *,
    wanted: SnapshotFilter,
) -> None:
    """Freeze demonstrations, comparisons, prompts or text as they are now, and write them to a file."""
    wanted_form, file_type = files.check_target(out, kind, form)
    snapshot = _frozen(project, kind, wanted)
    size = files.save_export(snapshot, out, form=wanted_form, file_type=file_type, split=split.value if split else "")
    name = f"{snapshot.kind.value}@{snapshot.sha256[:8]}"
    typer.echo(f"{out} has {size / 1024:,.0f} KiB, from {name} with {snapshot.rows} rows.")


def _frozen(project: str, kind: SnapshotKind, wanted: SnapshotFilter) -> Snapshot:
    with reading_one_state() as session:
        chosen = projects.chosen_project(session, project)
        frozen = datasets.freeze(session, chosen, kind, wanted, refuse_empty=True)
    with writing() as session:
        return datasets.keep(session, frozen, None)


@app.command("push")
@with_filter
def push_dataset(
    kind: SnapshotKind,
    repository: Annotated[str, typer.Argument(help="OWNER/NAME of the Hugging Face Hub.")],
    project: ProjectOption = "",
    form: Annotated[ExportForm | None, typer.Option(help="TRL's standard form when left out.")] = None,
    public: Annotated[bool, typer.Option(help="For everyone; else it is private.")] = False,
    *,
    wanted: SnapshotFilter,
) -> None:
    """Freeze a dataset as it is now, and send it to the Hub: a file for each split, its datasheet as the card."""
    hub.check_repository(repository)
    check_form(kind, chosen := form or FORMS[kind][0])
    snapshot = _frozen(project, kind, wanted)
    address = hub.push(snapshot, repository, form=chosen, is_public=public)
    typer.echo(f"{snapshot.kind.value}@{snapshot.sha256[:8]} with {snapshot.rows} rows is at {address}.")


@app.command()
def simulate(
    labelers: Annotated[int, typer.Option(min=1, max=64, help="How many work at once.")] = 5,
    rankings: Annotated[int, typer.Option(min=1, help="How many rankings they make together.")] = 200,
    project: ProjectOption = "",
    url: Annotated[str, typer.Option(help="Where Touchstone runs; by default the address of the settings.")] = "",
    seed: Annotated[int, typer.Option(help="The same seed on the same texts: the same judgments.")] = 0,
    agreement: Annotated[float, typer.Option(min=0.5, max=0.99, help="How often two of them agree.")] = 0.73,
) -> None:
    """Have simulated labelers rank through the running server. Everything they make is marked as simulated."""
    with writing() as session:
        chosen = projects.chosen_project(session, project)
    report = simulation.simulate(
        chosen,
        labelers=labelers,
        rankings=rankings,
        url=url or get_settings().address,
        seed=seed,
        wanted_agreement=agreement,
    )
    typer.echo(report)
    if report.rankings < rankings:
        typer.echo("Nothing more was left to rank: sample more completions for more.")


def main() -> None:
    """Run the command line; what a person can mend is said in words, without a traceback."""
    try:
        app()
    except DomainError as error:
        fields = error.fields if isinstance(error, Invalid) else {}
        _refuse(" ".join([error.message, *(f"{name}: {said}." for name, said in fields.items())]), error.mend)
    except SQLAlchemyError as error:
        _refuse(
            f"The database did not do it: {str(error).splitlines()[0]}.",
            "`touchstone doctor` looks closer; `touchstone migrate` brings an older database up to date.",
        )


def _refuse(message: str, mend: str) -> NoReturn:
    typer.secho(f"{message} {mend}".strip(), fg="red", err=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
