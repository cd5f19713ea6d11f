"""The web application, made once: each test gives it a ledger of its own."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app.ledger.connection import Ledger
from app.web.answers import Answers
from app.web.strangers import Strangers
from tests.web import Door, closing_ledger, give, web_app


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return web_app(tmp_path_factory.mktemp("web"))


@pytest.fixture
def door(app: Flask, ledger: Ledger, database_url: str) -> Iterator[Door]:
    with closing_ledger(database_url, threads=24) as own:
        give(app, own)
        app.extensions["flatwire_strangers"] = Strangers()
        app.extensions["flatwire_answers"] = Answers()
        yield Door(app, ledger)
