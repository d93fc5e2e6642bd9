//! From the text of an expression to its tree: recursive descent, bounded in size and depth.

use fieldmesh_model::Value;

use super::evaluate::read_number;
use super::function::{Function, Pattern};
use super::{
    EXPRESSION_DEPTH_MAX, EXPRESSION_NODES_MAX, EXPRESSION_SIZE_MAX, Names, Node, Operator, unit,
};

/// What is wrong with the text of an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// The text is too long.
    #[error("the expression has {size} bytes, limit is {EXPRESSION_SIZE_MAX}")]
    TooLong {
        /// Its size.
        size: usize,
    },
    /// The expression has too many parts.
    #[error("the expression has more than {EXPRESSION_NODES_MAX} parts")]
    TooManyParts,
    /// Brackets, calls or conditions stand too deep in each other.
    #[error("the expression is nested deeper than {EXPRESSION_DEPTH_MAX}")]
    TooDeep,
    /// Something else was expected.
    #[error("expected {expected} at character {at}, found {found}")]
    Unexpected {
        /// What would fit.
        expected: &'static str,
        /// What stands there.
        found: String,
        /// Where, counted from 1.
        at: usize,
    },
    /// A text in quotes has no end.
    #[error("the text that begins at character {at} has no closing {quote}")]
    Unclosed {
        /// The quote that is missing.
        quote: char,
        /// Where it begins, counted from 1.
        at: usize,
    },
    /// A brace in a text belongs to no pair.
    #[error("a brace in {text:?} has no partner; write {{{{ or }}}} for the character itself")]
    LoneBrace {
        /// The text.
        text: String,
    },
    /// No function has this name.
    #[error("there is no function {name:?}; there are {known}")]
    UnknownFunction {
        /// The name.
        name: String,
        /// All functions.
        known: String,
    },
    /// A function has too few or too many arguments.
    #[error("{name} takes {expected}, found {found}")]
    ArgumentCount {
        /// The function.
        name: String,
        /// How many it takes.
        expected: &'static str,
        /// How many it was given.
        found: usize,
    },
    /// An argument that must be written out is computed.
    #[error("{name} needs a text in quotes as argument {position}")]
    NotLiteral {
        /// The function.
        name: String,
        /// Which argument, counted from 1.
        position: usize,
    },
    /// The mapping has no such map.
    #[error("there is no map {name:?}; there are {known}")]
    UnknownMap {
        /// The name.
        name: String,
        /// All maps.
        known: String,
    },
    /// A pattern of digits is malformed.
    #[error("{pattern:?} is no pattern of digits; write it like 2-3-5-2")]
    BadPattern {
        /// The pattern.
        pattern: String,
    },
    /// No unit has this name.
    #[error("there is no unit {name:?}; there are {known}")]
    UnknownUnit {
        /// The name.
        name: String,
        /// All units.
        known: String,
    },
    /// Two units measure different things.
    #[error("{from} cannot be converted to {to}")]
    UnitsDiffer {
        /// The unit of the file.
        from: String,
        /// The unit of the record.
        to: String,
    },
    /// `ref(…)` stands inside another expression.
    #[error("ref(…) must be the whole field")]
    ReferenceInside,
}

const ARGUMENT_COUNTS: [&str; 4] = ["no arguments", "1 argument", "2 arguments", "3 arguments"];
const KEYWORDS: [&str; 6] = ["if", "then", "else", "and", "or", "not"];

/// Reads a whole expression.
pub(super) fn expression(text: &str, names: &mut Names) -> Result<Node, ExpressionError> {
    check_size(text)?;
    let mut parser = Parser { text, at: 0, depth: 0, nodes: 0, names };
    parser.whole()
}

/// Reads a template without quotes around it.
pub(super) fn template(text: &str, names: &mut Names) -> Result<Node, ExpressionError> {
    check_size(text)?;
    let mut parser = Parser { text: "", at: 0, depth: 0, nodes: 0, names };
    parser.template(text)
}

fn check_size(text: &str) -> Result<(), ExpressionError> {
    if text.len() > EXPRESSION_SIZE_MAX {
        return Err(ExpressionError::TooLong { size: text.len() });
    }
    Ok(())
}

struct Parser<'text, 'names> {
    text: &'text str,
    at: usize,
    depth: usize,
    nodes: usize,
    names: &'names mut Names,
}

impl Parser<'_, '_> {
    fn whole(&mut self) -> Result<Node, ExpressionError> {
        let node = self.operation(0)?;
        if self.peek().is_some() {
            return Err(self.unexpected("the end"));
        }
        Ok(node)
    }

    /// Operators of at least this binding strength, and what they join.
    fn operation(&mut self, strength_least: u8) -> Result<Node, ExpressionError> {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            return Err(ExpressionError::TooDeep);
        }
        let mut left = self.operand()?;
        while let Some((operator, strength)) = self.operator(strength_least) {
            self.count()?;
            let right = self.operation(strength + 1)?;
            left = Node::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    /// Takes the next operator if it binds strongly enough.
    fn operator(&mut self, strength_least: u8) -> Option<(Operator, u8)> {
        const OPERATORS: [(&str, Operator, u8); 12] = [
            ("or", Operator::Or, 0),
            ("and", Operator::And, 1),
            ("==", Operator::Equal, 2),
            ("!=", Operator::Unequal, 2),
            ("<=", Operator::LessOrEqual, 2),
            (">=", Operator::GreaterOrEqual, 2),
            ("<", Operator::Less, 2),
            (">", Operator::Greater, 2),
            ("+", Operator::Add, 3),
            ("-", Operator::Subtract, 3),
            ("*", Operator::Multiply, 4),
            ("/", Operator::Divide, 4),
        ];
        let (text, operator, strength) =
            OPERATORS.iter().find(|(text, _, _)| self.starts_with(text))?;
        if *strength < strength_least {
            return None;
        }
        self.at += text.len();
        Some((*operator, *strength))
    }

    fn operand(&mut self) -> Result<Node, ExpressionError> {
        self.count()?;
        if self.take("not") {
            return Ok(Node::Not(Box::new(self.operation(2)?)));
        }
        if self.take("if") {
            return self.choice();
        }
        match self.peek() {
            Some('-') => {
                self.at += 1;
                Ok(Node::Negate(Box::new(self.operation(5)?)))
            }
            Some('(') => {
                self.at += 1;
                let inner = self.operation(0)?;
                self.expect(")", "a closing bracket")?;
                Ok(inner)
            }
            Some(quote @ ('\'' | '"')) => {
                let text = self.quoted(quote)?;
                self.template(&text)
            }
            Some('`') => {
                let column = self.quoted('`')?;
                Ok(Node::Column(self.names.slot(&column)))
            }
            Some(digit) if digit.is_ascii_digit() => self.number(),
            Some(letter) if letter.is_alphabetic() || letter == '_' => self.name(),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn choice(&mut self) -> Result<Node, ExpressionError> {
        let test = self.operation(0)?;
        self.expect("then", "then")?;
        let then = self.operation(0)?;
        self.expect("else", "else")?;
        let otherwise = self.operation(0)?;
        Ok(Node::If(Box::new(test), Box::new(then), Box::new(otherwise)))
    }

    fn number(&mut self) -> Result<Node, ExpressionError> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number =
            read_number(&rest[..end]).ok_or_else(|| self.unexpected("a number like 12.5"))?;
        self.at += end;
        Ok(Node::Constant(number.into_value()))
    }

    /// A constant, a column or a call.
    fn name(&mut self) -> Result<Node, ExpressionError> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c| !is_name_character(c) && c != '.').unwrap_or(rest.len());
        let name = &rest[..end];
        if KEYWORDS.contains(&name) {
            return Err(self.unexpected("a value"));
        }
        let name = name.to_owned();
        self.at += end;
        if self.peek() == Some('(') {
            self.at += 1;
            return self.call(&name);
        }
        Ok(match name.as_str() {
            "true" => Node::Constant(Value::Bool(true)),
            "false" => Node::Constant(Value::Bool(false)),
            "blank" => Node::Constant(Value::Null),
            column => Node::Column(self.names.slot(column)),
        })
    }

    fn call(&mut self, name: &str) -> Result<Node, ExpressionError> {
        let mut arguments = Vec::new();
        while self.peek() != Some(')') {
            if !arguments.is_empty() {
                self.expect(",", "a comma or a closing bracket")?;
            }
            arguments.push(self.operation(0)?);
        }
        self.at += 1;
        match name {
            "ref" => Err(ExpressionError::ReferenceInside),
            "map" => self.call_map(arguments),
            "digits" => call_digits(arguments),
            "convert" => call_convert(arguments),
            name => {
                let (function, count) = Function::named(name)?;
                check_count(name, &arguments, count)?;
                Ok(Node::Call(function, arguments))
            }
        }
    }

    fn call_map(&self, mut arguments: Vec<Node>) -> Result<Node, ExpressionError> {
        check_count("map", &arguments, 2)?;
        let name = literal("map", &arguments, 1)?;
        let map = self.names.maps.get(name).cloned().ok_or_else(|| {
            let known = self.names.maps.keys().cloned().collect::<Vec<_>>().join(", ");
            ExpressionError::UnknownMap { name: name.into(), known }
        })?;
        Ok(Node::Map(Box::new(arguments.swap_remove(0)), map))
    }

    /// The text between two quotes; a doubled quote is one character of the text.
    fn quoted(&mut self, quote: char) -> Result<String, ExpressionError> {
        let begin = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = rest.find(quote) else {
                let at = self.text[..begin].chars().count() + 1;
                return Err(ExpressionError::Unclosed { quote, at });
            };
            text.push_str(&rest[..end]);
            self.at += end + 1;
            if !self.text[self.at..].starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
            self.at += 1;
        }
    }

    /// A text with expressions in braces; without any it is a constant.
    fn template(&mut self, text: &str) -> Result<Node, ExpressionError> {
        let lone_brace = || ExpressionError::LoneBrace { text: text.into() };
        let mut parts = Vec::new();
        let mut constant = String::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(brace);
            constant.push_str(before);
            if let Some(tail) = after.strip_prefix("{{").or_else(|| after.strip_prefix("}}")) {
                constant.push_str(&after[..1]);
                rest = tail;
                continue;
            }
            let inner = after.strip_prefix('{').ok_or_else(lone_brace)?;
            let (inner, tail) = inner.split_once('}').ok_or_else(lone_brace)?;
            if !constant.is_empty() {
                parts.push(Node::Constant(Value::Text(std::mem::take(&mut constant))));
            }
            parts.push(self.inner(inner)?);
            rest = tail;
        }
        constant.push_str(rest);
        if parts.is_empty() {
            return Ok(Node::Constant(Value::Text(constant)));
        }
        if !constant.is_empty() {
            parts.push(Node::Constant(Value::Text(constant)));
        }
        Ok(Node::Template(parts))
    }

    /// An expression inside a template; it counts towards the bounds of the whole.
    fn inner(&mut self, text: &str) -> Result<Node, ExpressionError> {
        let mut parser =
            Parser { text, at: 0, depth: self.depth, nodes: self.nodes, names: &mut *self.names };
        let node = parser.whole()?;
        self.nodes = parser.nodes;
        Ok(node)
    }

    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    /// Whether this operator or word comes next; a word does not end inside a longer one.
    fn starts_with(&mut self, token: &str) -> bool {
        self.peek();
        let Some(rest) = self.text[self.at..].strip_prefix(token) else { return false };
        let word = token.starts_with(is_name_character);
        !word || !rest.starts_with(|c| is_name_character(c) || c == '.')
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str, expected: &'static str) -> Result<(), ExpressionError> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&mut self, expected: &'static str) -> ExpressionError {
        let found = match self.peek() {
            Some(_) => format!("{:?}", super::excerpt(&self.text[self.at..])),
            None => "the end".into(),
        };
        let at = self.text[..self.at].chars().count() + 1;
        ExpressionError::Unexpected { expected, found, at }
    }

    fn count(&mut self) -> Result<(), ExpressionError> {
        self.nodes += 1;
        if self.nodes > EXPRESSION_NODES_MAX {
            return Err(ExpressionError::TooManyParts);
        }
        Ok(())
    }
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn check_count(name: &str, arguments: &[Node], count: usize) -> Result<(), ExpressionError> {
    if arguments.len() == count {
        return Ok(());
    }
    let expected = ARGUMENT_COUNTS.get(count).copied().unwrap_or("other arguments");
    Err(ExpressionError::ArgumentCount { name: name.into(), expected, found: arguments.len() })
}

fn literal<'node>(
    name: &str,
    arguments: &'node [Node],
    index: usize,
) -> Result<&'node str, ExpressionError> {
    match arguments.get(index) {
        Some(Node::Constant(Value::Text(text))) => Ok(text),
        _ => Err(ExpressionError::NotLiteral { name: name.into(), position: index + 1 }),
    }
}

fn call_digits(mut arguments: Vec<Node>) -> Result<Node, ExpressionError> {
    if arguments.len() < 2 {
        let (name, found) = ("digits".into(), arguments.len());
        return Err(ExpressionError::ArgumentCount {
            name,
            expected: "2 or more arguments",
            found,
        });
    }
    let patterns: Result<Vec<_>, _> = (1..arguments.len())
        .map(|index| Pattern::parse(literal("digits", &arguments, index)?))
        .collect();
    Ok(Node::Digits(Box::new(arguments.swap_remove(0)), patterns?))
}

fn call_convert(mut arguments: Vec<Node>) -> Result<Node, ExpressionError> {
    check_count("convert", &arguments, 3)?;
    let (from, to) = (literal("convert", &arguments, 1)?, literal("convert", &arguments, 2)?);
    let factor = Box::new(Node::Constant(Value::Float(unit::factor(from, to)?)));
    Ok(Node::Binary(Operator::Multiply, Box::new(arguments.swap_remove(0)), factor))
}
