"""Guards of what boxes are asked about a change before it is made, and of what they answer."""

from tests.mutants.mutant import Mutant

FILES = "node_agent/file_preview.py"
DIFFERENCES = "controller/fleet/differences.py"
_AGENT = "tests/unit/node_agent/test_previewing.py"
_ASKING = "tests/unit/controller/fleet/test_differences.py"
_MODEL = "tests/integration/test_differences.py"
_HSCTL = "tests/unit/controller/hsctl/test_differences.py"

MUTANTS = (
    Mutant(
        "agent.preview-of-others-files",
        "S3",
        FILES,
        "foreign = self._find(path) is None",
        "foreign = False",
        (
            f"{_AGENT}::test_a_file_that_the_agent_did_not_write_is_never_shown",
            "tests/integration/test_preview_real.py"
            "::test_a_hostile_controller_learns_nothing_by_asking",
        ),
    ),
    Mutant(
        "agent.preview-of-private-files",
        "S14",
        FILES,
        'each.kind == "file" and each.mode & 0o077 == 0 for each',
        "False for each",
        (f"{_AGENT}::test_a_private_file_is_never_shown",),
    ),
    Mutant(
        "agent.secrets-in-differences",
        "S14",
        "node_agent/differing.py",
        "        return _SECRETS.sub(self._replace, text)",
        "        return text",
        (
            f"{_AGENT}::test_secrets_are_taken_out_before_they_leave_the_box",
            "tests/unit/node_agent/test_drift.py::test_no_secret_is_shown_on_either_side",
        ),
    ),
    Mutant(
        "agent.preview-bounded",
        "S8",
        "node_agent/previewing.py",
        "        if len(objects) > MOST_PREVIEWED or size > MOST_PREVIEWED_BYTES:",
        "        if False:",
        (f"{_AGENT}::test_more_than_one_preview_may_hold_is_refused",),
    ),
    Mutant(
        "agent.preview-lines-bounded",
        "S8",
        "node_agent/previewing.py",
        "        if len(each.lines) > lines or weight > size:",
        "        if False:",
        (f"{_AGENT}::test_an_answer_is_bounded_and_says_where_it_was_cut",),
    ),
    Mutant(
        "agent.preview-while-held",
        "P5",
        "node_agent/lanes.py",
        "        if self._held or self._ahead:\n            raise",
        "        if False:\n            raise",
        (f"{_AGENT}::test_a_lane_that_is_held_or_ahead_says_so",),
    ),
    Mutant(
        "agent.preview-of-what-is-unended",
        "P2",
        "node_agent/previewing.py",
        "        if self.journal.open_entries(self.lane):",
        "        if False:",
        (f"{_AGENT}::test_a_step_that_is_not_ended_does_not_pass_for_a_change_by_hand",),
    ),
    Mutant(
        "agent.preview-of-what-is-kept",
        "P2",
        "node_agent/previewing.py",
        "                if words := self.held_back(step):",
        '                if words := "":',
        (f"{_AGENT}::test_by_the_policy_keep_a_changed_file_holds_the_object",),
        dies_of=("ValueError",),
    ),
    Mutant(
        "controller.differences-for-operators",
        "S24",
        "controller/runner.py",
        '    if diff and principal.kind != "provider":',
        "    if False:",
        (f"{_MODEL}::test_an_account_sees_nothing_of_a_box",),
    ),
    Mutant(
        "fleet.preview-printable",
        "S13",
        DIFFERENCES,
        "            words=printable(each.words, LONGEST_WORDS),\n            lines",
        "            words=each.words,\n            lines",
        (f"{_ASKING}::test_a_hostile_answer_is_bounded_and_printable",),
    ),
    Mutant(
        "fleet.preview-lines-printable",
        "S13",
        DIFFERENCES,
        "lines=tuple(_line(line) for line in lines)",
        "lines=tuple(lines)",
        (f"{_ASKING}::test_a_hostile_answer_is_bounded_and_printable",),
    ),
    Mutant(
        "fleet.preview-bounded",
        "S8",
        DIFFERENCES,
        "_files(found.files[:MOST_PREVIEW_FILES])",
        "_files(found.files)",
        (f"{_ASKING}::test_a_hostile_answer_is_bounded_and_printable",),
    ),
    Mutant(
        "fleet.preview-lines-bounded",
        "S8",
        DIFFERENCES,
        "        lines = each.lines[: min(left, MOST_DIFFERENCES)]",
        "        lines = each.lines",
        (f"{_ASKING}::test_a_hostile_answer_is_bounded_and_printable",),
    ),
    Mutant(
        "fleet.preview-deadline",
        "P10",
        DIFFERENCES,
        "        left = end - self.clock.seconds()",
        "        left = 3600.0",
        (f"{_ASKING}::test_a_slow_box_delays_nobody_for_longer_than_its_time",),
        dies_of=("ValueError",),
    ),
    Mutant(
        "fleet.preview-older-agent",
        "P7",
        "controller/fleet/fleet.py",
        "        if isinstance(ask, AskPreview) and session.protocol < PROTOCOL_PREVIEW:",
        "        if False:",
        (f"{_MODEL}::test_an_older_agent_is_never_sent_the_question",),
    ),
    Mutant(
        "fleet.preview-serial-marked",
        "P5",
        DIFFERENCES,
        "            notes.append(SERIALS)",
        "            pass",
        (f"{_MODEL}::test_the_boxes_concerned_are_asked_with_what_they_would_be_sent",),
    ),
    Mutant(
        "fleet.preview-cut-said",
        "P5",
        DIFFERENCES,
        "    for each in objects[:MOST_PREVIEWED]:",
        "    for each in objects:",
        (f"{_MODEL}::test_a_wide_change_is_asked_in_part_and_says_so",),
    ),
    Mutant(
        "web.differences-of-a-dry-run-alone",
        "P5",
        "controller/web/api.py",
        "        if diff and not dry_run:",
        "        if False:",
        ("tests/unit/controller/web/test_api.py::test_differences_of_a_real_write_are_refused",),
    ),
    Mutant(
        "hsctl.differences-of-a-dry-run-alone",
        "P5",
        "controller/hsctl/verbs.py",
        '    if how["diff"] and not how["dry_run"]:',
        "    if False:",
        (
            f"{_HSCTL}::test_alone_it_is_an_error_of_usage_and_nothing_is_written",
            f"{_HSCTL}::test_a_deletion_with_diff_alone_is_refused_before_it_asks",
        ),
    ),
    Mutant(
        "hsctl.differences-printable",
        "S13",
        "controller/hsctl/differences.py",
        '"\\t".join(clean(part) for part in str(line).split("\\t"))',
        "str(line)",
        (f"{_HSCTL}::test_it_is_printed_as_git_prints_a_diff",),
    ),
)
