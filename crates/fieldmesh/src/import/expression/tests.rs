//! Goal: every element of the language, its mistakes and its bounds. Method: one expression and
//! one row at a time.

use std::sync::Arc;

use noise::noise;

use super::*;

fn names() -> Names {
    let values = [("08", "ACTIVE"), ("15", "PLUGGED")]
        .map(|(code, status)| (code.to_owned(), Value::Text(status.into())));
    let map = CodeMap { name: "status".into(), values: values.into() };
    let open = CodeMap { name: "open".into(), values: [("*".into(), Value::Int(7))].into() };
    let maps = [("status".into(), Arc::new(map)), ("open".into(), Arc::new(open))];
    Names { columns: Vec::new(), maps: maps.into() }
}

/// Evaluates with text cells, as csv has them; an empty one is blank.
fn eval(text: &str, row: &[(&str, &str)]) -> Result<Value, EvaluationError> {
    let mut names = names();
    let expression = Expression::parse(text, &mut names).unwrap();
    let cell = |name: &String| {
        let found = row.iter().find(|(column, _)| column == name).map_or("", |(_, cell)| cell);
        if found.is_empty() { Value::Null } else { Value::Text(found.into()) }
    };
    let cells: Vec<Value> = names.columns.iter().map(cell).collect();
    expression.evaluate(&cells)
}

fn give(text: &str, row: &[(&str, &str)]) -> Value {
    eval(text, row).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn fails(text: &str) -> ExpressionError {
    Expression::parse(text, &mut names()).map(|_| text).unwrap_err()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn moment(text: &str) -> Value {
    Value::Moment(text.parse().unwrap())
}

#[test]
fn arithmetic_binds_as_on_paper_and_reads_numbers_from_text() {
    assert_eq!(give("1 + 2 * 3 - 4 / 2", &[]), Value::Float(5.0));
    assert_eq!(give("(1 + 2) * 3", &[]), Value::Int(9));
    assert_eq!(give("10 - 4 - 3", &[]), Value::Int(3));
    assert_eq!(give("-a * 2", &[("a", " 5 ")]), Value::Int(-10));
    assert_eq!(give("a / b", &[("a", "4151"), ("b", "31")]), Value::Float(4151.0 / 31.0));
    assert_eq!(give("a * 6.5", &[("a", "2e1")]), Value::Float(130.0));
}

#[test]
fn a_blank_operand_makes_the_result_blank() {
    assert_eq!(give("a / b + 1", &[("a", "1")]), Value::Null);
    assert_eq!(give("round(a, 2)", &[]), Value::Null);
    assert_eq!(give("a < 1 or a == 0", &[]), Value::Bool(false));
    assert_eq!(give("a == blank and blank(a)", &[]), Value::Bool(true));
    assert_eq!(give("default(a, '-')", &[("a", "  ")]), text("-"));
}

#[test]
fn what_is_no_number_or_too_large_is_a_fault() {
    use EvaluationError as E;
    assert_eq!(eval("a + 1", &[("a", "x")]), Err(E::NotANumber { text: "x".into() }));
    assert_eq!(eval("a + 1", &[("a", "1,234")]), Err(E::NotANumber { text: "1,234".into() }));
    for word in ["NaN", "inf", "-infinity", "1e999", "0x10"] {
        assert!(eval("a * 1", &[("a", word)]).is_err(), "{word}");
    }
    assert_eq!(eval("1 / a", &[("a", "0")]), Err(E::DivisionByZero));
    assert_eq!(eval("a * a", &[("a", "1e300")]), Err(E::NumberTooLarge));
    let huge = i64::MAX.to_string();
    assert_eq!(give("a + 1", &[("a", &huge)]), Value::Float(i64::MAX as f64 + 1.0));
    let least = i64::MIN.to_string();
    assert_eq!(eval("-a", &[("a", &least)]), Err(E::NumberTooLarge));
}

#[test]
fn conditions_take_only_the_branch_that_holds() {
    let daily = "if days == 0 then 0 else oil / days";
    assert_eq!(give(daily, &[("days", "0"), ("oil", "7")]), Value::Int(0));
    assert_eq!(give(daily, &[("days", "2"), ("oil", "7")]), Value::Float(3.5));
    let graded = "if a >= 10 then 'high' else if a > 5 then 'mid' else 'low'";
    assert_eq!(give(graded, &[("a", "10.0")]), text("high"));
    assert_eq!(give(graded, &[("a", "6")]), text("mid"));
    assert_eq!(give(graded, &[("a", "5")]), text("low"));
    assert_eq!(give("not a == 'x' and (b != 1 or false)", &[("b", "2")]), Value::Bool(true));
    assert!(matches!(
        eval("if a then 1 else 2", &[("a", "yes")]),
        Err(EvaluationError::NotACondition { .. })
    ));
}

#[test]
fn words_in_names_are_not_keywords() {
    let row = [("order", "1"), ("nothing", "2"), ("if_any", "3"), ("Oil (bbl)", "4"), ("d.o", "5")];
    assert_eq!(give("order + nothing + if_any + `Oil (bbl)` + d.o", &row), Value::Int(15));
    assert_eq!(give("`if`", &[("if", "x")]), text("x"));
}

#[test]
fn templates_take_expressions_and_both_quotes() {
    let row = [("a", "x"), ("n", "3")];
    assert_eq!(give("'{a}-{n * 2}'", &row), text("x-6"));
    assert_eq!(give("\"it's {{{a}}} {default(none, '?')}\"", &row), text("it's {x} ?"));
    assert_eq!(give("'it''s'", &[]), text("it's"));
    assert_eq!(give("'{none}'", &[]), text(""));
    assert!(matches!(fails("'{a'"), ExpressionError::LoneBrace { .. }));
    assert!(matches!(fails("'a}'"), ExpressionError::LoneBrace { .. }));
}

#[test]
fn digits_are_grouped_by_the_first_pattern_that_fits() {
    let row = [("api", "177194003103")];
    assert_eq!(give("digits(api, '2-3-5-2')", &row), text("17-719-40031-03"));
    let any = "digits(api, '2-3-5', '2-3-5-2', '2-3-5-2-2')";
    assert_eq!(give(any, &[("api", "42-227-30001")]), text("42-227-30001"));
    assert_eq!(give(any, &[("api", "01234567890123")]), text("01-234-56789-01-23"));
    for bad in ["17719400310", "17719400310x", "١٧٧١٩٤٠٠٣١٠٣", "-"] {
        let fault = eval("digits(api, '2-3-5-2')", &[("api", bad)]);
        assert!(matches!(fault, Err(EvaluationError::DigitsMisfit { .. })), "{bad}");
    }
    assert!(matches!(fails("digits(a, '2-x')"), ExpressionError::BadPattern { .. }));
    assert!(matches!(fails("digits(a, b)"), ExpressionError::NotLiteral { position: 2, .. }));
}

#[test]
fn dates_and_their_parts_are_checked_against_the_calendar() {
    let row = [("m", "2011-01"), ("d", "2012-02-29"), ("t", "2011-12-31T23:30:00-02:00")];
    assert_eq!(give("month_start(m)", &row), moment("2011-01-01T00:00:00Z"));
    assert_eq!(give("month_start(d)", &row), moment("2012-02-01T00:00:00Z"));
    assert_eq!(give("date(t)", &row), moment("2012-01-01T00:00:00Z"));
    assert_eq!(give("time(t)", &row), moment("2012-01-01T01:30:00Z"));
    assert_eq!(give("'{year(d)}/{month(d)}'", &row), text("2012/2"));
    let days = |month| give("days_in_month(m)", &[("m", month)]);
    assert_eq!(days("2012-02"), Value::Int(29));
    assert_eq!(days("1900-02"), Value::Int(28));
    assert_eq!(days("2011-11"), Value::Int(30));
    for bad in
        ["2011-13", "2011-00", "2011/01", "201101", "2011-02-29", "+011-01", "Januar1", "é11-01"]
    {
        assert!(eval("month_start(m)", &[("m", bad)]).is_err(), "{bad}");
    }
}

#[test]
fn texts_numbers_maps_and_units() {
    let row = [("a", "  WD   31 "), ("n", "2.345"), ("s", "08"), ("v", "100")];
    assert_eq!(give("squeeze(a)", &row), text("WD 31"));
    assert_eq!(give("lower(trim(a))", &row), text("wd   31"));
    assert_eq!(give("upper('é')", &row), text("É"));
    assert_eq!(give("part('ABCDEF', 2, 3)", &row), text("BCD"));
    assert_eq!(give("part('AB', 3, 1)", &row), Value::Null);
    assert_eq!(give("round(n, 2)", &row), Value::Float(2.35));
    assert_eq!(give("max(n, 1)", &row), Value::Float(2.345));
    assert_eq!(give("min(3, 4)", &row), Value::Int(3));
    assert_eq!(give("number(v)", &row), Value::Int(100));
    assert_eq!(give("text(1 + 1)", &row), text("2"));
    assert_eq!(give("map(s, 'status')", &row), text("ACTIVE"));
    assert_eq!(give("map(a, 'open')", &row), Value::Int(7));
    let Value::Float(barrels) = give("convert(v, 'm3', 'bbl')", &row) else { panic!() };
    assert!((barrels - 628.981_077).abs() < 1e-6);
    let unknown = eval("map(s, 'status')", &[("s", "99")]).unwrap_err();
    assert_eq!(unknown.to_string(), "\"99\" is not in the map \"status\"");
    assert!(matches!(fails("map(s, 'other')"), ExpressionError::UnknownMap { .. }));
    assert!(matches!(fails("convert(v, 'm3', 'PSI')"), ExpressionError::UnitsDiffer { .. }));
    assert!(matches!(fails("convert(v, 'm3', 'cup')"), ExpressionError::UnknownUnit { .. }));
}

#[test]
fn a_mistake_is_named_with_its_place() {
    assert_eq!(fails("1 +").to_string(), "expected a value at character 4, found the end");
    assert_eq!(fails("a b").to_string(), "expected the end at character 3, found \"b\"");
    assert_eq!(fails("(a").to_string(), "expected a closing bracket at character 3, found the end");
    assert_eq!(fails("if a then b").to_string(), "expected else at character 12, found the end");
    assert_eq!(fails("'é").to_string(), "the text that begins at character 1 has no closing '");
    assert!(fails("foo(1)").to_string().starts_with("there is no function \"foo\"; there are"));
    assert_eq!(fails("round(1)").to_string(), "round takes 2 arguments, found 1");
    assert_eq!(fails("'{ref(\"well\")}'"), ExpressionError::ReferenceInside);
    for text in ["", "1..2", "1.2.3", "then", "f(1,)", "a = 1", "&", "1 2", "a ==", "`x"] {
        fails(text);
    }
}

#[test]
fn size_depth_and_parts_are_bounded() {
    let brackets = "(".repeat(EXPRESSION_SIZE_MAX);
    assert_eq!(fails(&brackets), ExpressionError::TooDeep);
    assert_eq!(fails(&"-".repeat(200)), ExpressionError::TooDeep);
    assert_eq!(fails(&"not ".repeat(200)), ExpressionError::TooDeep);
    assert_eq!(fails(&vec!["1"; 300].join("+")), ExpressionError::TooManyParts);
    let templates = format!("'{}'", "{a}".repeat(300));
    assert_eq!(fails(&templates), ExpressionError::TooManyParts);
    assert!(matches!(fails(&"1".repeat(5_000)), ExpressionError::TooLong { size: 5_000 }));
    let cell = "x".repeat(100_000);
    assert_eq!(eval("'{a}{a}{a}'", &[("a", &cell)]), Err(EvaluationError::TextTooLong));
}

#[test]
fn any_text_and_any_cell_end_in_a_value_or_an_error() {
    let words = [
        "if ", "then ", "else ", "(", ")", "a", "'", "\"", "{", "}", "`", "1", ".", "-", "+", "*",
        "/", "<", "=", "not ", "or ", ",", "digits(", "part(", "é", "\0", "round(", "date(", " ",
    ];
    let cells = [text("é"), Value::Int(i64::MIN), Value::Float(-0.0), Value::List(vec![])];
    for seed in 0..20_000_u64 {
        let text: String =
            noise(seed, 24).into_iter().map(|number| words[number % words.len()]).collect();
        let mut names = names();
        if let Ok(expression) = Expression::parse(&text, &mut names) {
            for cell in &cells {
                let _ = expression.evaluate(&vec![cell.clone(); names.columns.len()]);
            }
        }
    }
}

/// Reproducible numbers without a generator from outside.
mod noise {
    pub(super) fn noise(seed: u64, count: usize) -> Vec<usize> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap()
        };
        (0..count).map(step).collect()
    }
}
