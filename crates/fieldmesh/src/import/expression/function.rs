//! The functions of the language.

use fieldmesh_model::Value;

use super::calendar::Date;
use super::evaluate::{Number, number, text};
use super::{EvaluationError, ExpressionError};

/// A function whose arguments are all computed from the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Blank,
    Date,
    DaysInMonth,
    Default,
    Lower,
    Max,
    Min,
    Month,
    MonthStart,
    Number,
    Part,
    Round,
    Squeeze,
    Text,
    Time,
    Trim,
    Upper,
    Year,
}

/// Name, function, and how many arguments it takes.
const FUNCTIONS: [(&str, Function, usize); 18] = [
    ("blank", Function::Blank, 1),
    ("date", Function::Date, 1),
    ("days_in_month", Function::DaysInMonth, 1),
    ("default", Function::Default, 2),
    ("lower", Function::Lower, 1),
    ("max", Function::Max, 2),
    ("min", Function::Min, 2),
    ("month", Function::Month, 1),
    ("month_start", Function::MonthStart, 1),
    ("number", Function::Number, 1),
    ("part", Function::Part, 3),
    ("round", Function::Round, 2),
    ("squeeze", Function::Squeeze, 1),
    ("text", Function::Text, 1),
    ("time", Function::Time, 1),
    ("trim", Function::Trim, 1),
    ("upper", Function::Upper, 1),
    ("year", Function::Year, 1),
];

/// How the digits of a number are grouped: `2-3-5-2` is twelve digits in four groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<u8>);

impl Function {
    /// The function of this name and how many arguments it takes.
    pub(super) fn named(name: &str) -> Result<(Self, usize), ExpressionError> {
        let found = FUNCTIONS.iter().find(|function| function.0 == name);
        found.map(|function| (function.1, function.2)).ok_or_else(|| {
            let known = FUNCTIONS.iter().map(|function| function.0).collect::<Vec<_>>().join(", ");
            ExpressionError::UnknownFunction {
                name: name.into(),
                known: format!("{known}, convert, digits, map"),
            }
        })
    }

    /// Applies the function; the parser has checked the number of arguments.
    pub(super) fn apply(self, arguments: &[Value]) -> Result<Value, EvaluationError> {
        let argument = |index: usize| arguments.get(index).unwrap_or(&Value::Null);
        let first = argument(0);
        Ok(match self {
            Self::Blank => Value::Bool(is_blank(first)),
            Self::Default if is_blank(first) => argument(1).clone(),
            Self::Default => first.clone(),
            Self::Date => dated(first, |date| date.midnight().map(Value::Moment))?,
            Self::MonthStart => {
                dated(first, |date| date.month_start().midnight().map(Value::Moment))?
            }
            Self::DaysInMonth => dated(first, |date| Ok(Value::Int(date.month_days().into())))?,
            Self::Month => dated(first, |date| Ok(Value::Int(date.month.into())))?,
            Self::Year => dated(first, |date| Ok(Value::Int(date.year.into())))?,
            Self::Time => time(first)?,
            Self::Number => number(first)?.map_or(Value::Null, Number::into_value),
            Self::Max => extreme(first, argument(1), f64::ge)?,
            Self::Min => extreme(first, argument(1), f64::le)?,
            Self::Round => round(first, argument(1))?,
            Self::Part => part(first, argument(1), argument(2))?,
            Self::Text => texted(first, |text| text)?,
            Self::Trim => texted(first, |text| text.trim().to_owned())?,
            Self::Upper => texted(first, |text| text.to_uppercase())?,
            Self::Lower => texted(first, |text| text.to_lowercase())?,
            Self::Squeeze => {
                texted(first, |text| text.split_whitespace().collect::<Vec<_>>().join(" "))?
            }
        })
    }
}

impl Pattern {
    /// Reads `2-3-5-2`.
    pub(super) fn parse(text: &str) -> Result<Self, ExpressionError> {
        let groups: Option<Vec<u8>> = text
            .split('-')
            .map(|group| group.parse().ok().filter(|length| (1..=32).contains(length)))
            .collect();
        let bad = || ExpressionError::BadPattern { pattern: text.into() };
        groups.filter(|groups| groups.len() <= 16).map(Self).ok_or_else(bad)
    }

    fn length(&self) -> usize {
        self.0.iter().copied().map(usize::from).sum()
    }

    fn describe(&self) -> String {
        let groups: Vec<_> = self.0.iter().map(u8::to_string).collect();
        groups.join("-")
    }
}

/// The digits of a value in the groups of the first pattern that has as many.
pub(super) fn group(value: &Value, patterns: &[Pattern]) -> Result<Value, EvaluationError> {
    let Some(text) = text(value)? else { return Ok(Value::Null) };
    let misfit = || EvaluationError::DigitsMisfit {
        text: super::excerpt(&text),
        patterns: patterns.iter().map(Pattern::describe).collect::<Vec<_>>().join(" or "),
    };
    let digits: String = text.trim().chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(misfit());
    }
    let fits = |pattern: &&Pattern| pattern.length() == digits.len();
    let pattern = patterns.iter().find(fits).ok_or_else(misfit)?;
    let mut rest = digits.as_str();
    let mut groups = Vec::with_capacity(pattern.0.len());
    for length in &pattern.0 {
        let (head, tail) = rest.split_at(usize::from(*length));
        groups.push(head);
        rest = tail;
    }
    Ok(Value::Text(groups.join("-")))
}

/// Whether a value is absent or a text of spaces.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.trim().is_empty(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Moment(_) | Value::List(_) => {
            false
        }
    }
}

fn dated(
    value: &Value,
    then: impl FnOnce(Date) -> Result<Value, EvaluationError>,
) -> Result<Value, EvaluationError> {
    Date::read(value)?.map_or(Ok(Value::Null), then)
}

fn texted(value: &Value, then: impl FnOnce(String) -> String) -> Result<Value, EvaluationError> {
    Ok(text(value)?.map_or(Value::Null, |text| Value::Text(then(text))))
}

fn time(value: &Value) -> Result<Value, EvaluationError> {
    let Some(text) = text(value)? else { return Ok(Value::Null) };
    text.parse()
        .map(Value::Moment)
        .map_err(|_| EvaluationError::NotATime { text: super::excerpt(&text) })
}

fn extreme(
    one: &Value,
    other: &Value,
    wins: fn(&f64, &f64) -> bool,
) -> Result<Value, EvaluationError> {
    let (Some(left), Some(right)) = (number(one)?, number(other)?) else {
        return Ok(Value::Null);
    };
    let winner = if wins(&left.as_f64(), &right.as_f64()) { left } else { right };
    Ok(winner.into_value())
}

fn round(value: &Value, decimals: &Value) -> Result<Value, EvaluationError> {
    let Some(number) = number(value)? else { return Ok(Value::Null) };
    let decimals = whole(decimals, 0, 9)?;
    let Number::Float(float) = number else { return Ok(number.into_value()) };
    let scale = 10_f64.powi(i32::try_from(decimals).unwrap_or(0));
    let rounded = (float * scale).round() / scale;
    // A number too large to scale has no decimals to lose.
    Ok(Value::Float(if rounded.is_finite() { rounded } else { float }))
}

/// Characters `from` (the first is 1) to `from + count`.
fn part(value: &Value, from: &Value, count: &Value) -> Result<Value, EvaluationError> {
    let Some(text) = text(value)? else { return Ok(Value::Null) };
    let skipped = usize::try_from(whole(from, 1, 1 << 20)? - 1).unwrap_or(0);
    let count = usize::try_from(whole(count, 1, 1 << 20)?).unwrap_or(0);
    let part: String = text.chars().skip(skipped).take(count).collect();
    Ok(if part.is_empty() { Value::Null } else { Value::Text(part) })
}

fn whole(value: &Value, least: i64, greatest: i64) -> Result<i64, EvaluationError> {
    match number(value)? {
        Some(Number::Int(int)) if (least..=greatest).contains(&int) => Ok(int),
        _ => Err(EvaluationError::NotInRange { least, greatest }),
    }
}
