import pytest

from app.accounts.models import Person
from app.core.errors import Invalid
from app.datasets.export_files import export
from app.datasets.exports import ExportForm, FileType
from app.datasets.models import SnapshotKind
from app.projects.models import Project
from app.prompts.readers import ImportFormat
from app.prompts.texts import read_documents
from tests.conftest import SignIn

ONE, TWO = "Once there was a small house.", "A river ran behind it to the sea."


def test_jsonl_gives_a_document_a_line_and_tells_of_the_others() -> None:
    lines = f'{{"text": "{ONE}"}}\n{{oops\n{{"body": "x"}}\n{{"text": "short"}}\n{{"text": "{TWO}\\u0000"}}\n'
    documents, problems = read_documents(lines.encode(), ImportFormat.jsonl)
    assert documents == [ONE]
    assert [problem.split(" ")[1] for problem in problems] == ["2", "3", "4", "5"]
    assert "can't be kept" in problems[-1]


def test_a_table_gives_a_document_a_row() -> None:
    table = f'text,source\n"{ONE}\r\n{TWO}",web\n,web\n'.encode()
    documents, problems = read_documents(table, ImportFormat.csv)
    assert (documents, len(problems)) == ([f"{ONE}\r\n{TWO}"], 1)
    with pytest.raises(Invalid, match="no column `text`"):
        read_documents(b"body\nx\n", ImportFormat.csv)


@pytest.mark.parametrize("file_type", FileType)
def test_what_is_exported_comes_back(file_type: FileType) -> None:
    texts = [f"={ONE}\u2028\r\n\n{TWO}", f"'+{ONE}", f"---\n\n{TWO} שלום 😀"]
    rows = [{"id": "t", "text": text, "source": "web", "split": "train"} for text in texts]
    content = b"".join(export(SnapshotKind.text, rows, form=ExportForm.text, file_type=file_type))
    assert read_documents(content, ImportFormat(file_type.value)) == (texts, [])


def test_text_is_cut_at_blank_lines_or_at_rules() -> None:
    assert read_documents(f"{ONE}\n\n \n{TWO}".encode(), ImportFormat.text)[0] == [ONE, TWO]
    assert read_documents(f"{ONE}\n\n{TWO}\n---\n{TWO}".encode(), ImportFormat.text)[0] == [f"{ONE}\n\n{TWO}", TWO]


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe"])
def test_nothing_to_take_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        read_documents(content, ImportFormat.text)


def test_admin_imports_and_a_second_time_changes_nothing(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, address = sign_in(admin), f"/p/{project.slug}/prompts/texts"
    assert "2 new documents were taken" in client.post(address, data={"pasted": f"{ONE}\n\n{TWO}"}).text
    assert "0 new documents were taken" in client.post(address, data={"pasted": f"{ONE}\n\n{TWO}"}).text
    refused = client.post(address, data={"pasted": "<b>too short"})
    assert refused.status_code == 422
    assert "&lt;b&gt;too short" in refused.text


def test_others_look_at_most(sign_in: SignIn, researcher: Person, labeler: Person, project: Project) -> None:
    address = f"/p/{project.slug}/prompts/texts"
    client = sign_in(researcher)
    assert client.get(address).status_code == 200
    assert client.post(address, data={"pasted": ONE}).status_code == 403
    assert sign_in(labeler).get(address).status_code == 403
