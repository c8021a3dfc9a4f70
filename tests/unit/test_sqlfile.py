"""Cutting SQL files into statements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_daemon.database.sqlfile import statements


def cut(text: str) -> list[str]:
    return [statement.text for statement in statements(text)]


def test_statements_know_their_line_place_and_verb() -> None:
    text = "-- what it is for\n\ncreate table a (id int);\n\n  INSERT INTO a\n  VALUES (1);\nselect 2"
    first, second, third = statements(text)
    assert (first.line, first.verb, first.text) == (3, "CREATE", "create table a (id int)")
    assert (second.line, second.verb) == (5, "INSERT")
    assert text[second.offset :].startswith("INSERT INTO a")
    assert (third.line, third.text) == (7, "select 2")


@pytest.mark.parametrize(
    "one",
    [
        "SELECT 'a;b', 'it''s; so'",
        r"SELECT E'quote \'; inside'",
        'SELECT 1 AS "odd;name"',
        'SELECT 1 AS "odd""; name"',
        "SELECT $$a;b$$",
        "SELECT $body$ $$; $other$ ; $body$",
        "SELECT 1 /* ; /* nested; */ ; */ + 1",
        "SELECT 1 -- ; not yet\n + 1",
        "CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2)",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
        "SELECT CASE WHEN true THEN 1 END",
        "SELECT 'unfinished",
        "SELECT $$unfinished; ",
        "SELECT $1; "[:-2],
        "SELECT a$b$c FROM t",
    ],
)
def test_a_semicolon_inside_something_does_not_end_a_statement(one: str) -> None:
    assert cut(one) == [one.strip()]
    if "unfinished" not in one:
        assert cut(f"{one};SELECT 2;") == [one, "SELECT 2"]


@pytest.mark.parametrize("nothing", ["", "  \n", ";;;", "-- only a comment", "/* ; */ ;"])
def test_nothing_is_no_statement(nothing: str) -> None:
    assert cut(nothing) == []


def test_a_stray_bracket_costs_one_statement_only() -> None:
    assert cut("SELECT 1); SELECT 2; SELECT 3") == ["SELECT 1)", "SELECT 2", "SELECT 3"]


@given(st.text(alphabet="ab'\"$;()-/*E\\\n ", max_size=60))
def test_any_text_is_cut_and_loses_nothing_but_comments_and_semicolons(text: str) -> None:
    end = 0
    for statement in statements(text):
        assert statement.offset >= end
        assert text[statement.offset :].startswith(statement.text)
        assert statement.line == text.count("\n", 0, statement.offset) + 1
        end = statement.offset + len(statement.text)
