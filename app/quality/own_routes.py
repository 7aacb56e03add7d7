"""What a labeler may know of their own work, as far as the project's admins let them."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.accounts.deps import SignedIn
from app.core.deps import ReadSession
from app.core.pages import render
from app.labeling.progress import count_submitted, desk_state
from app.projects.deps import CurrentProject
from app.projects.settings import settings_of
from app.quality.service import own_figures

router = APIRouter()


@router.get("/p/{slug}/own")
def own_page(request: Request, session: ReadSession, person: SignedIn, project: CurrentProject) -> Response:
    return render(
        request,
        "quality/own.html",
        figures=own_figures(session, project, person),
        settings=settings_of(project),
        state=desk_state(session, person, project),
        submitted_ever=count_submitted(session, person, project),
    )
