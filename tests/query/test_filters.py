"""The filter language: what a text means, and how a wrong one is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from generated_stores import NOON, RunSpec, StoreSpec, expressions, points, run_id, write_store
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnn.errors import FilterError, UsageError
from agentnn.query.expressions import And, Comparison, Expression, Field, Not, Or, to_number
from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import RunQuery
from agentnn.records import PARENT_TAG
from agentnn.stores.sql.store import SqlStore

if TYPE_CHECKING:
    from pathlib import Path

A = Comparison(Field("metric", "a"), "=", 1)
B = Comparison(Field("metric", "b"), "=", 2)
C = Comparison(Field("metric", "c"), "=", 3)


def rendered(expression: Expression) -> str:
    """A syntax tree as text, every name and text quoted."""
    match expression:
        case And(parts):
            return " AND ".join(_inside(part) for part in parts)
        case Or(parts):
            return " OR ".join(_inside(part) for part in parts)
        case Not(part):
            return f"NOT ({rendered(part)})"
        case Comparison(field, operator, value):
            name = field.key if field.kind == "attribute" else f"{field.kind}s.`{field.key.replace('`', '``')}`"
            return f"{name} {operator}" if value is None else f"{name} {operator} {_rendered_value(value)}"


def _inside(part: Expression) -> str:
    return f"({rendered(part)})" if isinstance(part, (And, Or)) else rendered(part)


def _rendered_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_rendered_value(one) for one in value)})"
    if isinstance(value, bool):
        return str(value).lower()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def types_of_values(expression: Expression | None) -> list[Any]:
    """Dataclasses take 1 and True for equal; a filter must not."""
    match expression:
        case And(parts) | Or(parts):
            return [kind for part in parts for kind in types_of_values(part)]
        case Not(part):
            return types_of_values(part)
        case Comparison(_, _, value):
            values = value if isinstance(value, tuple) else (value,)
            return [bool if isinstance(one, bool) else str if isinstance(one, str) else None for one in values]
    raise AssertionError(expression)


class TestStructure:
    @pytest.mark.parametrize(
        ("text", "tree"),
        [
            ("metrics.a = 1", A),
            ("metrics.a = 1 AND metrics.b = 2 AND metrics.c = 3", And((A, B, C))),
            ("metrics.a = 1 OR metrics.b = 2 OR metrics.c = 3", Or((A, B, C))),
            ("metrics.a = 1 OR metrics.b = 2 AND metrics.c = 3", Or((A, And((B, C))))),
            ("metrics.a = 1 AND metrics.b = 2 OR metrics.c = 3", Or((And((A, B)), C))),
            ("(metrics.a = 1 OR metrics.b = 2) AND metrics.c = 3", And((Or((A, B)), C))),
            ("NOT metrics.a = 1 AND metrics.b = 2", And((Not(A), B))),
            ("NOT metrics.a = 1 OR metrics.b = 2", Or((Not(A), B))),
            ("NOT (metrics.a = 1 AND metrics.b = 2)", Not(And((A, B)))),
            ("NOT NOT metrics.a = 1", A),
            ("NOT NOT NOT metrics.a = 1", Not(A)),
            ("((metrics.a = 1))", A),
            ("metrics.a=1 AND(metrics.b=2)OR NOT(metrics.c=3)", Or((And((A, B)), Not(C)))),
        ],
    )
    def test_not_binds_tighter_than_and_and_and_tighter_than_or(self, text: str, tree: Expression) -> None:
        assert parse_filter(text) == tree

    @pytest.mark.parametrize("text", ["", " ", "\t\n  "])
    def test_a_blank_filter_is_no_filter(self, text: str) -> None:
        assert parse_filter(text) is None

    def test_keywords_are_read_in_any_case(self) -> None:
        mixed = (
            "metrics.a = 1 aNd NoT params.b lIkE 'x' oR tags.c Is nOt NuLl or params.d nOt In ('x') or tags.e = TRUE"
        )
        assert parse_filter(mixed) == Or(
            (
                And((A, Not(Comparison(Field("param", "b"), "LIKE", "x")))),
                Comparison(Field("tag", "c"), "IS NOT NULL"),
                Comparison(Field("param", "d"), "NOT IN", ("x",)),
                Comparison(Field("tag", "e"), "=", True),
            )
        )

    def test_spaces_and_line_breaks_around_words_mean_nothing(self) -> None:
        assert parse_filter("\n metrics.a\t=\n1  AND\n\tmetrics.b=2 ") == And((A, B))
        assert parse_filter("params.x IN('a','b')") == parse_filter(" params.x  IN ( 'a' , 'b' ) ")


class TestFields:
    @pytest.mark.parametrize(
        ("text", "field"),
        [
            ("metrics.loss", Field("metric", "loss")),
            ("metric.loss", Field("metric", "loss")),
            ("params.lr", Field("param", "lr")),
            ("param.lr", Field("param", "lr")),
            ("parameter.lr", Field("param", "lr")),
            ("parameters.lr", Field("param", "lr")),
            ("tags.team", Field("tag", "team")),
            ("tag.team", Field("tag", "team")),
            ("dataset.name", Field("dataset", "name")),
            ("datasets.digest", Field("dataset", "digest")),
            ("datasets.context", Field("dataset", "context")),
            ("status", Field("attribute", "status")),
            ("attribute.status", Field("attribute", "status")),
            ("attributes.status", Field("attribute", "status")),
            ("attr.status", Field("attribute", "status")),
            ("run.status", Field("attribute", "status")),
            ("created", Field("attribute", "start_time")),
            ("Created", Field("attribute", "start_time")),
            ("attributes.created", Field("attribute", "start_time")),
            ("`Run name`", Field("attribute", "run_name")),
            ("`run name`", Field("attribute", "run_name")),
            ('attributes."Run Name"', Field("attribute", "run_name")),
            ("name", Field("attribute", "run_name")),
            ("user", Field("attribute", "user_id")),
            ("parent_run_id", Field("tag", PARENT_TAG)),
            ("attributes.parent_run_id", Field("tag", PARENT_TAG)),
            ("tags.mlflow.parentRunId", Field("tag", PARENT_TAG)),
            ("experiment_id", Field("attribute", "experiment_id")),
            ("lifecycle_stage", Field("attribute", "lifecycle_stage")),
        ],
    )
    def test_a_field_may_be_written_as_mlflow_and_its_users_write_it(self, text: str, field: Field) -> None:
        assert parse_field(text) == field

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("metrics.val/loss", "val/loss"),
            ("metrics.val-loss.x:y", "val-loss.x:y"),
            ("metrics.日本語", "日本語"),
            ("metrics.100%", "100%"),
            ("metrics.`Sharpe ratio`", "Sharpe ratio"),
            ('metrics."Sharpe ratio"', "Sharpe ratio"),
            ("metrics.`a = 1 AND b`", "a = 1 AND b"),
            ("metrics.`it's`", "it's"),
            ("metrics.`a``b`", "a`b"),
            ('metrics."a""b"', 'a"b'),
            ('metrics.`a"b`', 'a"b'),
            ('metrics."a`b"', "a`b"),
            ("`metrics`.loss", "loss"),
            ("metrics.🚀", "🚀"),
        ],
    )
    def test_a_name_is_bare_or_quoted_as_a_whole_with_the_quote_itself_doubled(self, text: str, key: str) -> None:
        assert parse_field(text) == Field("metric", key)
        assert parse_filter(f"{text} > 0.5") == Comparison(Field("metric", key), ">", 0.5)

    def test_a_field_shows_itself_as_users_write_it(self) -> None:
        assert [str(parse_field(text)) for text in ("metric.a", "param.b", "attr.status", "dataset.name")] == [
            "metrics.a",
            "params.b",
            "status",
            "datasets.name",
        ]

    @pytest.mark.parametrize(
        ("text", "order"),
        [
            ("metrics.loss", (Field("metric", "loss"), True)),
            ("metrics.loss ASC", (Field("metric", "loss"), True)),
            ("metrics.loss desc", (Field("metric", "loss"), False)),
            (" start_time  DESC ", (Field("attribute", "start_time"), False)),
            ("params.`drop out` Desc", (Field("param", "drop out"), False)),
        ],
    )
    def test_a_sort_key_ascends_unless_it_says_desc(self, text: str, order: tuple[Field, bool]) -> None:
        assert parse_order(text) == order

    @pytest.mark.parametrize(
        ("text", "position"), [("metrics.loss down", 13), ("metrics.loss ASC DESC", 17), ("", 0), ("metrics.a, b", 9)]
    )
    def test_a_sort_key_with_anything_more_is_refused(self, text: str, position: int) -> None:
        with pytest.raises(FilterError) as caught:
            parse_order(text)
        assert caught.value.position == position


class TestOperatorsAndValues:
    @pytest.mark.parametrize(
        ("written", "operator"),
        [("=", "="), ("==", "="), ("!=", "!="), ("<>", "!="), ("<", "<"), ("<=", "<="), (">", ">"), (">=", ">=")],
    )
    @pytest.mark.parametrize("space", ["", " "])
    def test_every_comparison_operator(self, written: str, operator: str, space: str) -> None:
        field = Field("metric", "a")
        assert parse_filter(f"metrics.a{space}{written}{space}1") == Comparison(field, operator, 1)

    @pytest.mark.parametrize("operator", ["LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE", "=~", "!~"])
    def test_every_pattern_operator(self, operator: str) -> None:
        assert parse_filter(f"tags.t {operator} 'a%'") == Comparison(Field("tag", "t"), operator, "a%")

    @pytest.mark.parametrize("operator", ["IN", "NOT IN"])
    def test_lists_may_mix_texts_and_numbers_for_params(self, operator: str) -> None:
        expected = Comparison(Field("param", "p"), operator, ("a", 1, -0.5))
        assert parse_filter(f"params.p {operator} ('a', 1, -.5)") == expected

    @pytest.mark.parametrize("operator", ["IS NULL", "IS NOT NULL"])
    @pytest.mark.parametrize("field", ["metrics.a", "params.a", "tags.a", "end_time", "datasets.name"])
    def test_anything_may_be_asked_whether_it_is_there(self, field: str, operator: str) -> None:
        assert parse_filter(f"{field} {operator}") == Comparison(parse_field(field), operator)

    @pytest.mark.parametrize(
        ("written", "number"),
        [
            ("1", 1), ("+1", 1), ("-2", -2), ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("-2e-3", -0.002), ("1E+2", 100.0),
            ("inf", math.inf), ("-inf", -math.inf), ("+Infinity", math.inf), ("1e999", math.inf),
            ("9007199254740993", 9007199254740993), ("99999999999999999999", 1e20),
        ],
    )  # fmt: skip
    def test_numbers(self, written: str, number: float) -> None:
        parsed = parse_filter(f"metrics.a < {written}")
        assert isinstance(parsed, Comparison)
        assert parsed.value == number
        assert not isinstance(parsed.value, bool)

    def test_a_whole_number_beyond_a_double_is_kept_exactly(self) -> None:
        parsed = parse_filter("params.seed = 9007199254740993")
        assert isinstance(parsed, Comparison)
        assert parsed.value == 2**53 + 1
        assert isinstance(parsed.value, int)

    @pytest.mark.parametrize(
        ("written", "text"),
        [
            ("'adam'", "adam"), ('"adam"', "adam"), ("''", ""), ("'it''s'", "it's"), ('"say ""hi"""', 'say "hi"'),
            ("'say \"hi\"'", 'say "hi"'), ("\"it's\"", "it's"), ("'a\nb'", "a\nb"), ("'\\n'", "\\n"), ("'🚀'", "🚀"),
            ("''''", "'"), ("' '", " "), ("'a AND b'", "a AND b"),
        ],
    )  # fmt: skip
    def test_texts_and_their_quotes(self, written: str, text: str) -> None:
        assert parse_filter(f"params.a = {written}") == Comparison(Field("param", "a"), "=", text)

    def test_true_and_false_are_truth_values_and_their_quoted_forms_texts(self) -> None:
        for written, value in (("true", True), ("FALSE", False), ("'true'", "true")):
            parsed = parse_filter(f"params.flag != {written}")
            assert isinstance(parsed, Comparison)
            assert parsed.value is value or parsed.value == value == "true"
            assert type(parsed.value) is type(value)

    def test_a_quoted_number_is_text_for_equality_and_a_number_for_an_order(self) -> None:
        assert parse_filter("params.lr = '1e-2'") == Comparison(Field("param", "lr"), "=", "1e-2")
        assert parse_filter("params.lr < '1e-2'") == Comparison(Field("param", "lr"), "<", 0.01)
        assert parse_filter("params.v < 'v10'") == Comparison(Field("param", "v"), "<", "v10")

    @pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
    @pytest.mark.parametrize("field", ["run_name", "run_id", "datasets.digest"])
    def test_what_is_text_by_nature_is_compared_with_quoted_digits_as_text(self, field: str, operator: str) -> None:
        assert parse_filter(f"{field} {operator} '10'") == Comparison(parse_field(field), operator, "10")

    @pytest.mark.parametrize(
        ("written", "milliseconds"),
        [
            ("'1970-01-01'", 0),
            ("'1970-01-02T00:00'", 86_400_000),
            ("'2023-11-14T22:13:20'", NOON),
            ("'2023-11-14T22:13:20Z'", NOON),
            ("'2023-11-15T00:13:20+02:00'", NOON),
            ("'2023-11-14T22:13:20.123'", NOON + 123),
            ("1700000000000", NOON),
        ],
    )
    def test_a_time_is_milliseconds_or_an_iso_date_in_utc_unless_it_says(self, written: str, milliseconds: int) -> None:
        assert parse_filter(f"start_time >= {written}") == Comparison(
            Field("attribute", "start_time"), ">=", milliseconds
        )
        assert parse_filter(f"created IN ({written})") == Comparison(
            Field("attribute", "start_time"), "IN", (milliseconds,)
        )

    @pytest.mark.parametrize(
        ("text", "number"),
        [("1", 1.0), ("1e-2", 0.01), (" 7 ", 7.0), ("inf", math.inf), ("-1e400", -math.inf)],
    )
    def test_a_text_that_is_written_as_a_number_is_one(self, text: str, number: float) -> None:
        assert to_number(text) == number

    @pytest.mark.parametrize("text", [None, "", "nan", "NaN", "1_000", "0x10", "1,5", "one", "1 2"])
    def test_nan_and_pythons_own_spellings_are_no_numbers(self, text: str | None) -> None:
        assert to_number(text) is None


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "position", "message", "hint"),
        [
            ("loss > 1", 0, "unknown attribute 'loss'", "metrics.loss"),
            ("statsu = 'FINISHED'", 0, "unknown attribute 'statsu'", "did you mean status?"),
            ("metrics.a = 1 AND strat_time > 5", 18, "unknown attribute", "did you mean start_time?"),
            ("metrcs.loss > 1", 0, "unknown kind of field 'metrcs'", "did you mean metrics?"),
            ("zzz.loss > 1", 0, "unknown kind of field 'zzz'", "one of metrics, params, tags, attributes, datasets"),
            ("datasets.size > 1", 0, "unknown data set field 'size'", "one of name, digest, context"),
            ("metrics.", 8, "expected a name after 'metrics.', found the end", ""),
            ("metrics. ", 8, "expected a name after 'metrics.', found the end", ""),
            ("metrics. = 1", 8, "expected a name after 'metrics.'", ""),
            ("metrics.a`b` = 1", 9, "a name is quoted as a whole", ""),
            ("metrics.'a' = 1", 8, "a name is quoted as a whole, with backticks", ""),
            ("metrics.`a = 1", 8, "this quote is not closed", ""),
            ("params.a = 'x", 11, "this quote is not closed", ""),
            ("params.a = 'x''", 11, "this quote is not closed", ""),
            ("metrics.a", 9, "expected an operator after 'metrics.a', found the end", "= != < <= > >= LIKE"),
            ("metrics.a is", 12, "expected NULL, found the end", ""),
            ("metrics.a is not 5", 17, "expected NULL, found '5'", ""),
            ("metrics.a ~ 1", 10, "expected an operator", "LIKE ILIKE"),
            ("params.a NOT = 'x'", 13, "expected an operator", ""),
            ("metrics.a =", 11, "expected a number or a quoted text, found the end", ""),
            ("metrics.a = b", 12, "expected a number or a quoted text, found 'b'", ""),
            ("metrics.a = 1x", 12, "expected a number or a quoted text, found '1x'", ""),
            ("metrics.a = 1.2.3", 12, "expected a number or a quoted text", ""),
            ("metrics.a > '5'", 12, "metrics.a is a number", ""),
            ("metrics.a = true", 12, "metrics.a is a number", ""),
            ("metrics.a IN (1, 'x')", 17, "metrics.a is a number", ""),
            ("metrics.a LIKE '1%'", 10, "metrics.a is a number: LIKE is for text", ""),
            ("start_time =~ '1'", 11, "start_time is a number", ""),
            ("start_time > 'yesterday'", 13, "'yesterday' is no time", "milliseconds since the epoch"),
            ("status = 5", 9, "status is text: quote the value", "status = 'value'"),
            ("status = true", 9, "status is text", ""),
            ("status IN ('FINISHED', 5)", 23, "status is text: quote the values", ""),
            ("params.a < true", 11, "true and false are compared with = and != only", ""),
            ("params.a LIKE 5", 14, "LIKE takes a quoted pattern", ""),
            ("params.a =~ '('", 12, "bad regular expression", ""),
            ("params.a =~ 'a{99999999999999999999}'", 12, "bad regular expression", ""),
            ("params.a IN 'x'", 12, "expected '('", ""),
            ("params.a IN ()", 13, "expected a number or a quoted text, found ')'", ""),
            ("params.a IN ('x'", 16, "expected ')', found the end", ""),
            ("params.a IN ('x',)", 17, "expected a number or a quoted text", ""),
            ("metrics.a = 1 AND", 17, "expected a field such as metrics.loss, found the end", ""),
            ("AND metrics.a = 1", 0, "unknown attribute 'AND'", ""),
            ("metrics.a = 1 metrics.b = 2", 14, "expected AND, OR or the end, found 'metrics.b'", ""),
            ("metrics.a = 1)", 13, "expected AND, OR or the end, found ')'", ""),
            ("(metrics.a = 1", 14, "expected ')', found the end", ""),
            ("()", 1, "expected a field", ""),
            ("NOT", 3, "expected a field", ""),
            ("metrics.a = 1; DROP TABLE runs", 13, "expected AND, OR or the end", ""),
            ("= 1", 0, "expected a field such as metrics.loss, found '='", ""),
        ],
    )
    def test_an_error_points_at_the_first_wrong_character(
        self, text: str, position: int, message: str, hint: str
    ) -> None:
        with pytest.raises(FilterError) as caught:
            parse_filter(text)
        error = caught.value
        assert error.position == position
        assert message in error.message
        assert hint in error.hint
        assert error.text == text
        assert f"character {position + 1}" in error.message
        assert "\n" not in error.message

    def test_a_filter_error_is_a_usage_error_with_exit_code_2(self) -> None:
        with pytest.raises(UsageError) as caught:
            parse_filter("loss > 1")
        assert caught.value.exit_code == 2
        assert isinstance(caught.value, ValueError)

    def test_of_a_long_text_the_place_is_shown_with_what_stands_around_it(self) -> None:
        text = f"metrics.{'x' * 40} ! {'y' * 40}"
        with pytest.raises(FilterError) as caught:
            parse_filter(text)
        at = caught.value.position
        around = f"{text[at - 30 : at]}▸{text[at : at + 30]}"
        assert at > 30
        assert caught.value.message.endswith(f"(character {at + 1}, at ▸ in {around!r})")

    @pytest.mark.parametrize("opening", ["(", "NOT (", "metrics.b = 2 OR NOT ("])
    def test_nesting_too_deep_is_refused_at_the_parenthesis_that_goes_too_far(self, opening: str) -> None:
        assert parse_filter(_nested(opening, 10)) is not None
        for depth in (1000, 100_000):
            with pytest.raises(FilterError, match="nested parentheses") as caught:
                parse_filter(_nested(opening, depth))
            allowed = caught.value.text[: caught.value.position].count("(")
            assert caught.value.text[caught.value.position] == "("
            assert parse_filter(_nested(opening, allowed)) is not None

    def test_a_regular_expression_nested_beyond_measure_is_refused(self) -> None:
        with pytest.raises(FilterError) as caught:
            parse_filter("params.a =~ '" + "(" * 5000 + ")" * 5000 + "'")
        assert caught.value.position == 12

    def test_a_number_of_400_digits_is_infinite_and_no_crash(self) -> None:
        parsed = parse_filter("metrics.a < 1" + "0" * 400)
        assert isinstance(parsed, Comparison)
        assert parsed.value == math.inf

    @given(st.text(max_size=60))
    @settings(max_examples=300, deadline=None)
    def test_arbitrary_text_is_a_filter_or_a_filter_error(self, text: str) -> None:
        _parse_or_refuse(text)

    @given(
        st.lists(
            st.sampled_from(
                (
                    "metrics.a", "params.`b c`", "tags.", "status", "datasets.name", "`", "'x'", '"', "1", "-", "1e5",
                    "=", "!=", "<", "=~", "!~", "'('", "IN", "LIKE", "IS", "NULL", "NOT", "AND", "OR", "(", ")", ",",
                    " ", " ", "true", "inf", "start_time", "'2026-01-01'", "'9999-99-99'", "\x00", "\u2028", "٣", "²",
                )
            ),
            max_size=14,
        )
    )  # fmt: skip
    @settings(max_examples=700, deadline=None)
    def test_any_jumble_of_the_languages_own_words_is_a_filter_or_a_filter_error(self, words: list[str]) -> None:
        _parse_or_refuse(" ".join(words))
        _parse_or_refuse("".join(words))


def parse_field(text: str) -> Field:
    field, _ = parse_order(text)
    return field


def _parse_or_refuse(text: str) -> None:
    for parse in (parse_filter, parse_order):
        try:
            parse(text)
        except FilterError as error:
            assert 0 <= error.position <= len(text)
            assert error.text == text


class TestRoundTrip:
    @given(expressions(max_leaves=12))
    @settings(max_examples=300, deadline=None)
    def test_a_syntax_tree_written_out_parses_back_to_itself(self, tree: Expression) -> None:
        parsed = parse_filter(rendered(tree))
        assert parsed == tree
        assert types_of_values(parsed) == types_of_values(tree)

    @given(key=st.text(min_size=1, max_size=20), value=st.text(max_size=20))
    @settings(max_examples=200, deadline=None)
    def test_any_name_and_any_text_can_be_written_with_quotes(self, key: str, value: str) -> None:
        tree = Comparison(Field("tag", key), "=", value)
        assert parse_filter(rendered(tree)) == tree
        double_quoted = 'tags."{}" = "{}"'.format(key.replace('"', '""'), value.replace('"', '""'))
        assert parse_filter(double_quoted) == tree


class TestSize:
    def test_5000_ored_comparisons_are_read_and_answered(self, database: Path, uri: str) -> None:
        runs = tuple(RunSpec(run_id(number), metrics={"a": points(float(number))}) for number in range(3))
        write_store(database, StoreSpec(runs=runs))
        wanted = " OR ".join(f"metrics.a = {number}" for number in range(1, 5001))
        parsed = parse_filter(wanted)
        assert isinstance(parsed, Or)
        assert len(parsed.parts) == 5000
        found = SqlStore(uri).search_runs(RunQuery(filter=parsed))
        assert [run.run_id for run in found] == [run_id(1), run_id(2)]

    def test_an_in_list_of_5000_numbers_is_read_and_answered(self, database: Path, uri: str) -> None:
        runs = tuple(RunSpec(run_id(number), params={"seed": str(number)}) for number in range(10))
        write_store(database, StoreSpec(runs=runs))
        wanted = parse_filter(f"params.seed IN ({', '.join(str(number) for number in range(8, 5008))})")
        assert [run.run_id for run in SqlStore(uri).search_runs(RunQuery(filter=wanted))] == [run_id(8), run_id(9)]

    @pytest.mark.parametrize("opening", ["(", "NOT (", "metrics.a = 2 OR NOT (tags.b IS NULL AND "])
    def test_the_deepest_filter_that_is_read_is_also_answered(self, database: Path, uri: str, opening: str) -> None:
        write_store(database, StoreSpec(runs=(RunSpec(run_id(1), metrics={"a": points(1.0)}),)))
        with pytest.raises(FilterError) as caught:
            parse_filter(_nested(opening, 1000))
        deepest = caught.value.text[: caught.value.position].count("(")
        deepest -= deepest % 2  # an even number of NOTs
        found = SqlStore(uri).search_runs(RunQuery(filter=parse_filter(_nested(opening, deepest))))
        assert [run.run_id for run in found] == [run_id(1)]


def _nested(opening: str, depth: int) -> str:
    return opening * depth + "metrics.a = 1" + ")" * depth
