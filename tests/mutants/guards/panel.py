"""Guards of the panel."""

from tests.mutants.mutant import Mutant

DOORKEEPER = "controller/web/panel/doorkeeper.py"
_FILES = "tests/integration/test_panel_files.py"
_OPERATORS = "tests/integration/test_panel_operators.py"
_SSL = "tests/integration/test_panel_shared_ssl.py"
_S21 = "tests/security/test_s21_session_forging.py"
_S26 = "tests/security/test_s26_stored_text.py"
_S27 = "tests/security/test_s27_panel_forms.py"
_S28 = "tests/security/test_s28_panel_links.py"

MUTANTS = (
    Mutant(
        "panel.two-cookies",
        "S21",
        DOORKEEPER,
        "    return found[0] if len(found) == 1 else None",
        "    return found[0] if found else None",
        (f"{_S21}::test_headers_with_line_breaks_leave_the_session_as_it_was",),
    ),
    Mutant(
        "panel.cookie-attributes",
        "S21",
        DOORKEEPER,
        "; Secure; HttpOnly; SameSite=Lax",
        "; Secure; SameSite=Lax",
        (f"{_S21}::test_the_cookie_is_bound_to_host_and_tls_and_hidden_from_scripts",),
    ),
    Mutant(
        "panel.autoescape",
        "S26",
        "controller/web/panel/rendering.py",
        "            autoescape=True,\n",
        "            autoescape=False,\n",
        (
            f"{_S26}::test_no_page_holds_planted_text_as_markup",
            f"{_FILES}::test_s26_a_line_and_a_reason_are_text_and_nothing_else",
            f"{_OPERATORS}::test_s26_a_label_of_a_token_is_text_and_nothing_else",
        ),
    ),
    Mutant(
        "panel.key-shown-again",
        "S23",
        "controller/web/panel/rooms/shared_ssl.py",
        ' if name != "key"}',
        "}",
        (f"{_SSL}::test_s14_a_key_is_on_no_page_whether_it_was_refused_previewed_or_taken",),
    ),
    Mutant(
        "panel.form-token",
        "S27",
        "controller/storage/web_sessions.py",
        "        return hmac.compare_digest(self.csrf",
        "        return True or hmac.compare_digest(self.csrf",
        (f"{_S27}::test_every_form_without_its_token_is_refused",),
    ),
    Mutant(
        "panel.origin-of-a-form",
        "S27",
        DOORKEEPER,
        '    return parts.scheme == "https" and',
        "    return True or",
        (f"{_S27}::test_a_form_of_another_origin_is_refused_even_with_its_token[headers0]",),
    ),
    Mutant(
        "panel.way-on",
        "S28",
        "controller/web/panel/entrance.py",
        "        except (NoPlaceError, UnreadableError):\n"
        '            return "/"\n        return wanted',
        "        except (NoPlaceError, UnreadableError):\n            pass\n        return wanted",
        (f"{_S28}::test_after_signing_in_a_foreign_way_on_leads_home[//evil.test/]",),
    ),
)
