//! The expressions of a mapping: from the cells of one row to one value.
//!
//! The language has no loops, no state, no clock and no randomness, so every expression ends, and
//! the same row always gives the same value. What can be known without a row (names, the number of
//! arguments, maps, patterns, units) is checked when the mapping is read.

mod calendar;
mod evaluate;
mod function;
mod parser;
mod unit;

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh_model::Value;

pub use evaluate::EvaluationError;
pub(super) use evaluate::{excerpt, key_text};
pub use parser::ExpressionError;

/// The longest text of an expression, in bytes.
pub const EXPRESSION_SIZE_MAX: usize = 4_096;
/// The largest number of operators, calls and operands in one expression.
pub const EXPRESSION_NODES_MAX: usize = 256;
/// The deepest nesting of brackets, calls, conditions and templates.
pub const EXPRESSION_DEPTH_MAX: usize = 24;
/// The longest text an expression may make from a row, in bytes.
pub const TEXT_SIZE_MAX: usize = 256 * 1024;

/// A checked expression.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    root: Node,
}

/// A table that turns the codes of a file into values; `*` stands for every other code.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CodeMap {
    /// The name under which expressions call it.
    pub(super) name: String,
    /// Code to value.
    pub(super) values: BTreeMap<String, Value>,
}

/// What an expression may name; columns get a slot when they are first named.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The columns named so far; a column's slot is its position.
    pub(super) columns: Vec<String>,
    /// The maps of the mapping.
    pub(super) maps: BTreeMap<String, Arc<CodeMap>>,
}

#[derive(Debug, Clone)]
enum Node {
    Constant(Value),
    Column(usize),
    Template(Vec<Node>),
    Negate(Box<Node>),
    Not(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    Call(function::Function, Vec<Node>),
    Digits(Box<Node>, Vec<function::Pattern>),
    Map(Box<Node>, Arc<CodeMap>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Whether a text is written like a number.
pub(super) fn is_number(text: &str) -> bool {
    evaluate::read_number(text.trim()).is_some()
}

impl Names {
    fn slot(&mut self, column: &str) -> usize {
        if let Some(slot) = self.columns.iter().position(|known| known == column) {
            return slot;
        }
        self.columns.push(column.to_owned());
        self.columns.len() - 1
    }
}

impl Node {
    fn names(&self, slot: usize) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Column(column) => *column == slot,
            Self::Template(nodes) | Self::Call(_, nodes) => {
                nodes.iter().any(|node| node.names(slot))
            }
            Self::Negate(node) | Self::Not(node) | Self::Digits(node, _) | Self::Map(node, _) => {
                node.names(slot)
            }
            Self::Binary(_, left, right) => left.names(slot) || right.names(slot),
            Self::If(test, then, otherwise) => {
                test.names(slot) || then.names(slot) || otherwise.names(slot)
            }
        }
    }
}

impl Expression {
    /// Reads an expression and notes the columns it names.
    pub(super) fn parse(text: &str, names: &mut Names) -> Result<Self, ExpressionError> {
        Ok(Self { root: parser::expression(text, names)? })
    }

    /// Reads the inside of a template: text with expressions in braces.
    pub(super) fn template(text: &str, names: &mut Names) -> Result<Self, ExpressionError> {
        Ok(Self { root: parser::template(text, names)? })
    }

    /// The expression that is always this value.
    pub(super) fn constant(value: Value) -> Self {
        Self { root: Node::Constant(value) }
    }

    /// The expression that is the cell of this column, whatever its name looks like.
    pub(super) fn column(name: &str, names: &mut Names) -> Self {
        Self { root: Node::Column(names.slot(name)) }
    }

    /// This value times a factor.
    pub(super) fn times(self, factor: Value) -> Self {
        let factor = Box::new(Node::Constant(factor));
        Self { root: Node::Binary(Operator::Multiply, Box::new(self.root), factor) }
    }

    /// This value looked up in a map.
    pub(super) fn mapped(self, map: Arc<CodeMap>) -> Self {
        Self { root: Node::Map(Box::new(self.root), map) }
    }

    /// This value with its digits in groups, as in `2-3-5-2`.
    pub(super) fn grouped(self, pattern: &str) -> Result<Self, ExpressionError> {
        let patterns = vec![function::Pattern::parse(pattern)?];
        Ok(Self { root: Node::Digits(Box::new(self.root), patterns) })
    }

    /// This value, or another one where it is blank.
    pub(super) fn or(self, other: Value) -> Self {
        let arguments = vec![self.root, Node::Constant(other)];
        Self { root: Node::Call(function::Function::Default, arguments) }
    }

    /// Converts between two units; the factor is the built-in one.
    pub(super) fn converted(self, from: &str, to: &str) -> Result<Self, ExpressionError> {
        Ok(self.times(Value::Float(unit::factor(from, to)?)))
    }

    /// Whether the expression names the column of this slot.
    pub(super) fn names(&self, slot: usize) -> bool {
        self.root.names(slot)
    }

    /// The value for a row whose cells stand in the order of [`Names::columns`].
    pub(super) fn evaluate(&self, cells: &[Value]) -> Result<Value, EvaluationError> {
        evaluate::evaluate(&self.root, cells)
    }

    /// Whether the condition holds for a row; a blank condition does not.
    pub(super) fn holds(&self, cells: &[Value]) -> Result<bool, EvaluationError> {
        evaluate::condition(&self.root, cells)
    }
}

#[cfg(test)]
mod tests;
