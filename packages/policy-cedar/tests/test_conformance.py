"""The suite for authorisers, on policies in Cedar."""

from dataclasses import replace
from pathlib import Path

import pytest

from actas.core.models import Action, NoParameters, Question
from actas.policy.cedar.plugin import create
from actas.policy.cedar.settings import CedarSettings
from actas.testing.authorizers import AuthorizerConformance, AuthorizerKit
from actas.testing.tokens import make_session

ALLOWED = Question(
    session=make_session("alice"),
    tool="read",
    module=None,
    action=Action(name="read", description="."),
    parameters=NoParameters(),
)


class TestCedar(AuthorizerConformance):
    @pytest.fixture
    def kit(self, tmp_path: Path) -> AuthorizerKit:
        file = tmp_path / "p.cedar"
        file.write_text('permit(principal in Role::"user", action, resource == Tool::"read");')
        return AuthorizerKit(
            make=lambda: create(CedarSettings(policies=[str(file)])),
            allowed=ALLOWED,
            refused=replace(ALLOWED, tool="write"),
            plugin="actas.policy.cedar.plugin",
            heavy_imports=["cedarpy"],
        )
