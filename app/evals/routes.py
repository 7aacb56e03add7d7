"""The evaluations page, and the report that can be mailed."""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.accounts.deps import Researcher
from app.accounts.models import Group
from app.core.clock import now
from app.core.deps import ReadSession
from app.core.errors import NotFound
from app.core.pages import render
from app.evals import attachments, results, service
from app.evals.alignment import tallies
from app.evals.alignment_routes import AskedTax, read_tax
from app.evals.benchmark_figures import figures_by_prompt
from app.evals.figures import Figure, as_csv, figure_named, figures_of
from app.evals.judgments import Judgments
from app.evals.kept import count_judgments, stamp_of
from app.labeling.models import BatchKind
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.models import UseCase
from app.registry.models import ModelKind

router = APIRouter(prefix="/p/{slug}/evaluations")
AT_ONCE = 5000  # rankings; of more the page comes first and the figures follow
Nothing = Literal[""]


class Asked(BaseModel):
    """Which judgments, against whom."""

    baseline: str = ""
    kind: BatchKind = BatchKind.evaluation
    group: Group | Nothing = ""
    by: Literal["", "people", "simulated"] = ""
    use_case: UseCase | Nothing = ""
    source: str = ""

    def judgments(self) -> Judgments:
        simulated = {"": None, "people": False, "simulated": True}[self.by]
        return Judgments(self.kind, self.group or None, simulated, self.use_case or None, self.source)

    def address(self, **changes: str) -> str:
        """As the end of an address."""
        said = self.model_dump(mode="json", exclude_defaults=True, exclude={"figures"})
        return urlencode({**said, **changes})


class AskedNow(Asked):
    figures: bool = False


class AskedReport(Asked):
    """The same, and whose alignment tax."""

    before: str = ""
    after: list[str] = []
    size: str = ""

    @property
    def tax(self) -> AskedTax:
        return AskedTax(before=self.before, after=self.after, size=self.size)


@router.get("")
def evaluations_page(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, asked: Annotated[AskedNow, Query()]
) -> Response:
    """Win rates against a chosen baseline: by default the first SFT model that was judged."""
    judgments = asked.judgments()
    if not asked.figures and count_judgments(session, project, judgments) > AT_ONCE:
        return render(request, "evals/evaluations.html", asked=asked, found=None, machine=_machine(session, project))
    found = _found(session, project, asked)
    return render(request, "evals/evaluations.html", machine=_machine(session, project), **found)


def _machine(session: Session, project: Project) -> list[Figure]:
    """What machines measure, by the prompt that stands before."""
    return figures_by_prompt(results.newest(session, project))


def _found(session: Session, project: Project, asked: Asked) -> dict[str, Any]:
    judgments = asked.judgments()
    stamp = stamp_of(session, project, judgments)
    judged = service.judged_contestants(session, project, judgments=judgments, stamp=stamp)
    chosen = next((each for each in judged if str(each.contestant) == asked.baseline), None)
    is_replaced = bool(asked.baseline) and chosen is None  # these judgments are of others
    sft = (each for each in judged if each.model.kind == ModelKind.sft)
    chosen = chosen or next(sft, judged[0] if judged else None)
    found = service.standings(session, project, chosen.contestant, judgments=judgments, stamp=stamp) if chosen else None
    return {
        "asked": asked.model_copy(update={"baseline": ""}) if is_replaced else asked,
        "is_replaced": is_replaced,
        "found": found or (),
        "judged": judged,
        "figures": figures_of(found) if found and len(found.rows) > 1 else [],
        "kinds": [BatchKind.evaluation, BatchKind.ranking],
        "groups": list(Group),
        "use_cases": list(UseCase),
    }


@router.get("/report")
def report(
    request: Request,
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    asked: Annotated[AskedReport, Query()],
) -> Response:
    """What people judged and what machines measured as one file, which needs no server to be read."""
    found, table = _found(session, project, asked), results.newest(session, project, with_prompts=True)
    if not found["figures"] and not table.settings:
        raise NotFound(
            "There is nothing to report yet.",
            mend="Let labelers rank completions of two models, or measure a model on benchmarks first.",
        )
    _models, chosen, parts = read_tax(session, project, asked.tax)
    answer = render(
        request, "evals/report.html", made=now(), table=table, machine=figures_by_prompt(table),
        chosen=chosen, parts=parts, said_decoding=results.said_decoding,
        tallies=tallies(chosen, parts) if chosen else [], **found,
    )  # fmt: skip
    answer.headers["Content-Disposition"] = f'attachment; filename="{project.slug}-evaluations.html"'
    return answer


@router.get("/figures/{key}.svg")
def figure_svg(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, key: str,
    asked: Annotated[Asked, Query()],
) -> Response:  # fmt: skip
    return attachments.drawing(request, _figure(session, project, asked, key), f"{project.slug}-{key}")


@router.get("/figures/{key}.csv")
def figure_csv(
    session: ReadSession, _: Researcher, project: CurrentProject, key: str, asked: Annotated[Asked, Query()]
) -> Response:
    return attachments.table(as_csv(_figure(session, project, asked, key)), f"{project.slug}-{key}")


def _figure(session: Session, project: Project, asked: Asked, key: str) -> Figure:
    made = _found(session, project, asked)
    if made["is_replaced"]:
        raise NotFound("No counting ranking holds this model.", mend="Choose another baseline.")
    return figure_named(made["figures"], key, page="the evaluations page")
