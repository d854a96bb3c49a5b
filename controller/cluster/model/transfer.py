"""The commands ``model.export`` and ``model.import``: the cluster's model as a document."""

from collections import Counter
from typing import Any

import attrs
import msgspec

from controller.changes import secret_field
from controller.cluster.model.document import read_document, shown
from controller.cluster.model.export import read_model
from controller.cluster.model.plan import Step, plan_import
from controller.commands import Command, Registry, Work
from controller.refusal import CommandError
from controller.runner import OneTime


@attrs.frozen
class ExportModel:
    """Nothing is asked for: the model is given whole."""


@attrs.frozen
class ImportModel:
    """A model to import; ``prune``: remove what it lacks.

    The model itself stays out of the change's request: the change has each row that it touched.
    """

    model: dict[str, Any] = secret_field()  # noqa: RUF009 (it is attrs.field)
    prune: bool = False


@attrs.frozen
class ModelTransfer:
    """Takes the model out and in; an import runs the commands that a person would."""

    commands_known: Registry

    async def export_model(self, work: Work, request: ExportModel) -> dict[str, Any]:
        """Give boxes, servers, settings, addresses and placement, not what customers own."""
        return shown(await read_model(work.tx))

    async def import_model(self, work: Work, request: ImportModel) -> OneTime:
        """Make the cluster have all that a model says, in one transaction.

        A step that is refused refuses the whole import: nothing was written then. Answers the
        lines that enrol new boxes; they are told once.
        """
        wanted = read_document(request.model)
        plan = plan_import(await read_model(work.tx), wanted, prune=request.prune)
        warnings: list[str] = []
        enrolment: list[dict[str, Any]] = []
        for step in plan.steps:
            told = await self._run(work, step)
            warnings += [f"{step.about}: {words}" for words in told.get("warnings", ())]
            if told.get("enrolment_command"):
                line = {name: told.get(name) for name in ("install_command", "enrolment_command")}
                enrolment.append({"pserver": step.about, **line})
        answer = {
            "counts": dict(Counter(step.command for step in plan.steps)),
            "steps": [{"command": step.command, "about": step.about} for step in plan.steps],
            "left": list(plan.left),
            "warnings": warnings,
        }
        return OneTime(answer={**answer, "enrolment": enrolment}, kept={**answer, "enrolment": []})

    async def _run(self, work: Work, step: Step) -> dict[str, Any]:
        command = self.commands_known[step.command]
        request = msgspec.convert(step.fields, command.request)
        try:
            told = await command.function(work, request)
        except CommandError as error:
            raise attrs.evolve(
                error, message=f"{step.command} {step.about}: {error.message}", field="model"
            ) from error
        found: dict[str, Any] = told.answer if isinstance(told, OneTime) else told
        return found

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "model.export",
                "GET",
                "/model",
                ExportModel,
                "provider.read",
                "Export the cluster's model",
                self.export_model,
                "Boxes, logical servers, settings, addresses and placement by their names; nothing"
                " that customers own and no secret.",
            ),
            Command(
                "model.import",
                "PUT",
                "/model",
                ImportModel,
                "provider.write",
                "Import a model",
                self.import_model,
                "Adds what is missing and changes what differs, all or nothing. What the model"
                " lacks stays, and is listed in `left`, unless `prune` is true.",
            ),
        )
