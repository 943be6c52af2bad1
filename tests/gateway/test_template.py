"""Path templates: what parses to what, and what is refused at start-up."""

from __future__ import annotations

import pytest
from checklist import covers

from gateway.template import TemplateError, parse_template


@covers("template-grammar")
@pytest.mark.parametrize(
    ("text", "shape", "variables", "why"),
    [
        ("/", "", [], "the root is a path too"),
        ("/v1/books", "=v1/=books", [], "literals"),
        ("/v1/{name}", "=v1/*", [(("name",), 1, 2, True)], "a bare variable is one segment"),
        ("/v1/{a.b_c}", "=v1/*", [(("a", "b_c"), 1, 2, True)], "a field path"),
        ("/v1/{n=*}", "=v1/*", [(("n",), 1, 2, True)], "the same, said aloud"),
        ("/v1/{n=a/*/b/*}", "=v1/=a/*/=b/*", [(("n",), 1, 5, False)], "several segments"),
        ("/v1/{n=lit}", "=v1/=lit", [(("n",), 1, 2, True)], "a literal may fill a variable"),
        ("/v1/{n=**}", "=v1/**", [(("n",), 1, 2, False)], "the rest of the path"),
        ("/v1/{n=**}/logs", "=v1/**/=logs", [(("n",), 1, 2, False)], "a literal tail, beyond the specification"),
        ("/v1/*/x", "=v1/*/=x", [], "a wildcard that fills nothing"),
        ("/v1/{n}:cancel", "=v1/*:cancel", [(("n",), 1, 2, True)], "a verb"),
        ("/v1/books:watch", "=v1/=books:watch", [], "a verb after a literal"),
        ("/a%20b/c@d", "=a b/=c@d", [], "escapes in literals are decoded"),
    ],
)
def test_templates_parse(text: str, shape: str, variables: list[object], why: str) -> None:
    template = parse_template(text)
    assert template.shape == shape, why
    assert [(v.path, v.start, v.end, v.single) for v in template.variables] == variables, why


@covers("template-grammar")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no slash"),
        ("v1", "no slash"),
        ("/v1/", "a trailing slash is an empty segment"),
        ("/v1//x", "an empty segment"),
        ("/v1/{n={m}}", "a variable inside a variable"),
        ("/v1/{n", "an open brace"),
        ("/v1/n}", "a closing brace"),
        ("/v1/{}", "no field"),
        ("/v1/{1}", "no identifier"),
        ("/v1/{n=}", "an empty pattern"),
        ("/v1/{n}/{n}", "one field twice"),
        ("/**/x/**", "two `**`"),
        ("/**/{x}", "a variable after `**`"),
        ("/**/*", "a wildcard after `**`"),
        ("/v1/x:", "an empty verb"),
        ("/v1/x:a:b", "two verbs"),
        ("/v1/a b", "a space"),
        ("/v1/%zz", "no escape"),
        ("/v1/%ff", "no UTF-8"),
        ("/v1/a?b", "a query"),
    ],
)
def test_bad_templates_are_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(TemplateError) as error:
        parse_template(text)
    assert repr(text) in str(error.value), why
