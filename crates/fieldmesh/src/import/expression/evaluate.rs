//! What an expression is worth for one row.
//!
//! A blank operand makes a calculation blank, and a blank value leaves its field out; in a
//! template a blank is the empty text.

use fieldmesh_model::Value;

use super::{Node, Operator, TEXT_SIZE_MAX, function};

/// Why an expression has no value for a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A calculation or comparison met something else than a number.
    #[error("{text:?} is not a number")]
    NotANumber {
        /// The beginning of what was found.
        text: String,
    },
    /// A list stands where one value is needed.
    #[error("a list cannot be used as one value")]
    NotScalar,
    /// A condition is neither true nor false.
    #[error("{text:?} is neither true nor false")]
    NotACondition {
        /// The beginning of what was found.
        text: String,
    },
    /// A month or date is malformed or does not exist.
    #[error("{text:?} is not a month or date; write it like 2011-01 or 2011-01-31")]
    NotADate {
        /// The beginning of what was found.
        text: String,
    },
    /// A time is malformed or does not exist.
    #[error("{text:?} is not a time; write it like 2026-03-01T08:30:00Z")]
    NotATime {
        /// The beginning of what was found.
        text: String,
    },
    /// A divisor is zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A result is too large for a number.
    #[error("the result is too large for a number")]
    NumberTooLarge,
    /// A count or position is out of its range.
    #[error("a whole number from {least} to {greatest} is needed here")]
    NotInRange {
        /// The least allowed.
        least: i64,
        /// The greatest allowed.
        greatest: i64,
    },
    /// A code stands in no line of its map.
    #[error("{code:?} is not in the map {map:?}")]
    NotInMap {
        /// The beginning of the code.
        code: String,
        /// The map.
        map: String,
    },
    /// The value has other characters than digits, or another number of them.
    #[error("{text:?} does not have the digits of {patterns}")]
    DigitsMisfit {
        /// The beginning of what was found.
        text: String,
        /// The patterns that were tried.
        patterns: String,
    },
    /// A text grows beyond its bound.
    #[error("the text is longer than {TEXT_SIZE_MAX} bytes")]
    TextTooLong,
}

/// A number, whole where it can be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Int(int) => Value::Int(int),
            Self::Float(float) => Value::Float(float),
        }
    }
}

pub(super) fn evaluate(node: &Node, cells: &[Value]) -> Result<Value, EvaluationError> {
    match node {
        Node::Constant(value) => Ok(value.clone()),
        Node::Column(slot) => Ok(cells.get(*slot).cloned().unwrap_or(Value::Null)),
        Node::Template(parts) => template(parts, cells),
        Node::Negate(node) => match number(&evaluate(node, cells)?)? {
            None => Ok(Value::Null),
            Some(Number::Int(int)) => {
                int.checked_neg().map(Value::Int).ok_or(EvaluationError::NumberTooLarge)
            }
            Some(Number::Float(float)) => Ok(Value::Float(-float)),
        },
        Node::Not(node) => Ok(Value::Bool(!condition(node, cells)?)),
        Node::Binary(operator, left, right) => binary(*operator, left, right, cells),
        Node::If(test, then, otherwise) => {
            evaluate(if condition(test, cells)? { then } else { otherwise }, cells)
        }
        Node::Call(function, arguments) => {
            let arguments: Result<Vec<_>, _> =
                arguments.iter().map(|argument| evaluate(argument, cells)).collect();
            function.apply(&arguments?)
        }
        Node::Digits(node, patterns) => function::group(&evaluate(node, cells)?, patterns),
        Node::Map(node, map) => {
            let Some(code) = text(&evaluate(node, cells)?)? else { return Ok(Value::Null) };
            let found = map.values.get(code.trim()).or_else(|| map.values.get("*"));
            found.cloned().ok_or_else(|| EvaluationError::NotInMap {
                code: excerpt(&code),
                map: map.name.clone(),
            })
        }
    }
}

/// Whether a condition holds; blank does not.
pub(super) fn condition(node: &Node, cells: &[Value]) -> Result<bool, EvaluationError> {
    match evaluate(node, cells)? {
        Value::Bool(holds) => Ok(holds),
        Value::Null => Ok(false),
        other => Err(EvaluationError::NotACondition { text: describe(&other) }),
    }
}

/// The value as a number; a blank has none.
pub(super) fn number(value: &Value) -> Result<Option<Number>, EvaluationError> {
    let not_a_number = || EvaluationError::NotANumber { text: describe(value) };
    match value {
        Value::Null => Ok(None),
        Value::Int(int) => Ok(Some(Number::Int(*int))),
        Value::Float(float) => Ok(Some(Number::Float(*float))),
        Value::Text(text) if text.trim().is_empty() => Ok(None),
        Value::Text(text) => read_number(text.trim()).map(Some).ok_or_else(not_a_number),
        Value::Bool(_) | Value::Moment(_) | Value::List(_) => Err(not_a_number()),
    }
}

/// Digits with an optional sign, decimals and exponent; `inf` and `nan` are words, not numbers.
pub(super) fn read_number(text: &str) -> Option<Number> {
    if let Ok(int) = text.parse() {
        return Some(Number::Int(int));
    }
    let plain = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if !text.bytes().all(plain) {
        return None;
    }
    text.parse::<f64>().ok().filter(|float| float.is_finite()).map(Number::Float)
}

/// The value as text; a blank has none.
pub(super) fn text(value: &Value) -> Result<Option<String>, EvaluationError> {
    Ok(match value {
        Value::Null => None,
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Int(int) => Some(int.to_string()),
        Value::Float(float) => Some(float.to_string()),
        Value::Text(text) => Some(text.clone()),
        Value::Moment(moment) => Some(moment.to_string()),
        Value::List(_) => return Err(EvaluationError::NotScalar),
    })
}

/// The text of one key part: trimmed, a blank as the empty text.
pub(in super::super) fn key_text(value: &Value) -> Result<String, EvaluationError> {
    Ok(text(value)?.map(|text| text.trim().to_owned()).unwrap_or_default())
}

/// The beginning of a text, short enough for a message.
pub(in super::super) fn excerpt(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn describe(value: &Value) -> String {
    match text(value) {
        Ok(text) => excerpt(&text.unwrap_or_default()),
        Err(_) => "a list".into(),
    }
}

fn template(parts: &[Node], cells: &[Value]) -> Result<Value, EvaluationError> {
    let mut whole = String::new();
    for part in parts {
        match part {
            Node::Constant(Value::Text(constant)) => whole.push_str(constant),
            part => match evaluate(part, cells)? {
                Value::Text(cell) => whole.push_str(&cell),
                other => whole.push_str(&text(&other)?.unwrap_or_default()),
            },
        }
        if whole.len() > TEXT_SIZE_MAX {
            return Err(EvaluationError::TextTooLong);
        }
    }
    Ok(Value::Text(whole))
}

fn binary(
    operator: Operator,
    left: &Node,
    right: &Node,
    cells: &[Value],
) -> Result<Value, EvaluationError> {
    use Operator as O;
    match operator {
        O::Or => Ok(Value::Bool(condition(left, cells)? || condition(right, cells)?)),
        O::And => Ok(Value::Bool(condition(left, cells)? && condition(right, cells)?)),
        O::Equal => Ok(Value::Bool(equal(&evaluate(left, cells)?, &evaluate(right, cells)?))),
        O::Unequal => Ok(Value::Bool(!equal(&evaluate(left, cells)?, &evaluate(right, cells)?))),
        O::Less | O::LessOrEqual | O::Greater | O::GreaterOrEqual => {
            let left = number(&evaluate(left, cells)?)?;
            let right = number(&evaluate(right, cells)?)?;
            let (Some(left), Some(right)) = (left, right) else { return Ok(Value::Null) };
            let (left, right) = (left.as_f64(), right.as_f64());
            Ok(Value::Bool(match operator {
                O::Less => left < right,
                O::LessOrEqual => left <= right,
                O::Greater => left > right,
                _ => left >= right,
            }))
        }
        O::Add | O::Subtract | O::Multiply | O::Divide => {
            let left = number(&evaluate(left, cells)?)?;
            let right = number(&evaluate(right, cells)?)?;
            let (Some(left), Some(right)) = (left, right) else { return Ok(Value::Null) };
            calculate(operator, left, right)
        }
    }
}

/// Numbers are equal by value, also where one is written as text; blanks equal only blanks.
fn equal(left: &Value, right: &Value) -> bool {
    let numeric = |value: &Value| matches!(value, Value::Int(_) | Value::Float(_));
    if numeric(left) || numeric(right) {
        let (Ok(Some(left)), Ok(Some(right))) = (number(left), number(right)) else {
            return false;
        };
        return match (left, right) {
            (Number::Int(left), Number::Int(right)) => left == right,
            (left, right) => left.as_f64() == right.as_f64(),
        };
    }
    left == right
}

fn calculate(operator: Operator, left: Number, right: Number) -> Result<Value, EvaluationError> {
    if let (Number::Int(left), Number::Int(right)) = (left, right) {
        let whole = match operator {
            Operator::Add => left.checked_add(right),
            Operator::Subtract => left.checked_sub(right),
            Operator::Multiply => left.checked_mul(right),
            _ => None,
        };
        if let Some(whole) = whole {
            return Ok(Value::Int(whole));
        }
    }
    let (left, right) = (left.as_f64(), right.as_f64());
    let result = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        _ if right == 0.0 => return Err(EvaluationError::DivisionByZero),
        _ => left / right,
    };
    if result.is_finite() { Ok(Value::Float(result)) } else { Err(EvaluationError::NumberTooLarge) }
}
