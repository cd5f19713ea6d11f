"""The documentation as a site, built as `make docs` builds it: no warning, and nothing asked of another host."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = "-m mkdocs build --site-dir"
"""As in the Makefile."""


def built(folder: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    """Build the documentation that stands in a folder."""
    return subprocess.run(
        [sys.executable, *BUILD.split(), str(site)],
        cwd=folder,
        env={"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = built(ROOT, folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_the_site_has_every_page(site: Path) -> None:
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}

    assert pages <= {page.stem for page in site.glob("*.html")}


def test_the_site_asks_no_other_host_for_anything(site: Path) -> None:
    loaded = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*\bhref=["']?(?:https?:)?//"""
    )

    assert [page.name for page in site.glob("*.html") if loaded.search(page.read_text())] == []


def test_make_docs_builds_as_the_test_does() -> None:
    assert f"{BUILD} var/site" in (ROOT / "Makefile").read_text()


def test_what_is_wrong_with_a_page_ends_the_build(tmp_path: Path) -> None:
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "docs" / "lost.md").write_text(
        "# Lost\n\n[no page](nowhere.md), [no anchor](alerts.md#nowhere)\n"
    )
    done = built(tmp_path, tmp_path / "site")

    assert done.returncode != 0
    for fault in ("lost.md", "'nowhere.md'", "'#nowhere'"):
        assert re.search(f"WARNING.*{fault}", done.stderr), done.stderr
