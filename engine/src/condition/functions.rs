//! The types of conditions, and what operators and functions make of them.
//!
//! Expressions of CEL are usually checked when they run. Here they are checked before: a comparison of
//! a number with a text is simply false in CEL, and would be a rule that nobody can pass, or everybody.

use std::fmt;

use cel::Value;
use cel::common::ast::operators;

/// The longest text that an expression may put together, in bytes.
const MAX_TEXT: u64 = 16 * 1024;

/// Bytes of a text that are read in one step.
const BYTES_OF_STEP: u64 = 256;

/// Bytes of a text against which a pattern is matched in one step.
const BYTES_OF_MATCH: u64 = 4;

/// The types of single values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Text,
    Timestamp,
    Duration,
}

/// One value or a list. The type of a list that is empty as it is written is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    One(Type),
    Many(Option<Type>),
}

/// What is known of a value before there is one: its type, and how large it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: ValueKind,
    /// The most bytes of a text, or of each text of a list.
    pub(super) bytes: u64,
    /// The most elements of a list.
    pub(super) items: u64,
}

impl Shape {
    pub(super) const fn of(of: Type) -> Self {
        Self { kind: ValueKind::One(of), bytes: 0, items: 0 }
    }

    pub(super) const fn text(bytes: u64) -> Self {
        Self { kind: ValueKind::One(Type::Text), bytes, items: 0 }
    }

    pub(super) const fn texts(items: u64, bytes: u64) -> Self {
        Self { kind: ValueKind::Many(Some(Type::Text)), bytes, items }
    }

    pub(super) fn is(self, of: Type) -> bool {
        self.kind == ValueKind::One(of)
    }

    /// How many steps it takes to read, copy or compare the whole value.
    pub(super) fn steps(self) -> u64 {
        let one = 1 + self.bytes / BYTES_OF_STEP;
        match self.kind {
            ValueKind::One(_) => one,
            ValueKind::Many(_) => 1 + self.items * one,
        }
    }

    /// How many steps it takes to match a pattern against the text.
    pub(super) fn steps_of_match(self) -> u64 {
        1 + self.bytes / BYTES_OF_MATCH
    }

    /// Whether a value is of this shape.
    pub(super) fn holds(self, value: &Value) -> bool {
        let fits = |length: usize, most: u64| u64::try_from(length).is_ok_and(|it| it <= most);
        match (self.kind, value) {
            (ValueKind::One(Type::Text), Value::String(text)) => fits(text.len(), self.bytes),
            (ValueKind::One(Type::Bool), Value::Bool(_))
            | (ValueKind::One(Type::Int), Value::Int(_))
            | (ValueKind::One(Type::Timestamp), Value::Timestamp(_))
            | (ValueKind::One(Type::Duration), Value::Duration(_)) => true,
            (ValueKind::Many(Some(of)), Value::List(list)) => {
                let element = Self { kind: ValueKind::One(of), ..self };
                fits(list.len(), self.items) && list.iter().all(|value| element.holds(value))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Text => "string",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
        })
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(of) => of.fmt(f),
            Self::Many(Some(of)) => write!(f, "list({of})"),
            Self::Many(None) => f.write_str("empty list"),
        }
    }
}

/// What an operator with one operand gives.
pub(super) fn unary(name: &str, operand: Shape) -> Option<Result<Shape, String>> {
    let wants = match name {
        operators::LOGICAL_NOT => Type::Bool,
        operators::NEGATE => Type::Int,
        _ => return None,
    };
    let error = || format!("{} cannot be applied to {}", sign(name), operand.kind);
    Some(operand.is(wants).then_some(operand).ok_or_else(error))
}

/// What an operator with two operands gives.
pub(super) fn binary(name: &str, left: Shape, right: Shape) -> Option<Result<Shape, String>> {
    use Type::{Bool, Duration, Int, Text, Timestamp};
    use ValueKind::{Many, One};

    let kinds = (left.kind, right.kind);
    let of = |of| Some(Shape::of(of));
    let shape = match name {
        operators::LOGICAL_AND | operators::LOGICAL_OR => match kinds {
            (One(Bool), One(Bool)) => of(Bool),
            _ => None,
        },
        operators::EQUALS | operators::NOT_EQUALS => match kinds {
            (Many(_), Many(None)) | (Many(None), Many(_)) => of(Bool),
            (left, right) if left == right => of(Bool),
            _ => None,
        },
        operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS => match kinds {
            (One(left), One(right)) if left == right && left != Bool => of(Bool),
            _ => None,
        },
        operators::IN => match kinds {
            (One(_), Many(None)) => of(Bool),
            (One(one), Many(Some(many))) if one == many => of(Bool),
            _ => None,
        },
        operators::INDEX => match kinds {
            (Many(Some(element)), One(Int)) => {
                Some(Shape { kind: One(element), bytes: left.bytes, items: 0 })
            }
            _ => None,
        },
        operators::ADD => match kinds {
            (One(Int), One(Int)) => of(Int),
            (One(Text), One(Text)) => return Some(joined(left, right)),
            (One(Timestamp), One(Duration)) | (One(Duration), One(Timestamp)) => of(Timestamp),
            (One(Duration), One(Duration)) => of(Duration),
            _ => None,
        },
        operators::SUBSTRACT => match kinds {
            (One(Int), One(Int)) => of(Int),
            (One(Timestamp), One(Duration)) => of(Timestamp),
            (One(Timestamp | Duration), One(right)) if left.kind == One(right) => of(Duration),
            _ => None,
        },
        operators::MULTIPLY | operators::DIVIDE | operators::MODULO => match kinds {
            (One(Int), One(Int)) => of(Int),
            _ => None,
        },
        _ => return None,
    };
    let error = || format!("{} cannot be applied to {} and {}", sign(name), left.kind, right.kind);
    Some(shape.ok_or_else(error))
}

fn joined(left: Shape, right: Shape) -> Result<Shape, String> {
    let bytes = left.bytes + right.bytes;
    let error = || format!("strings that are joined may have at most {MAX_TEXT} bytes together");
    (bytes <= MAX_TEXT).then_some(Shape::text(bytes)).ok_or_else(error)
}

/// An operator as it is written.
fn sign(name: &str) -> &str {
    match name {
        operators::INDEX => "[…]",
        _ => name.trim_matches(['_', '@']),
    }
}

/// The functions that can be called on a value, `on.name(arguments)`, as far as they are not loops.
/// Those that read a literal are elsewhere.
pub(super) fn method(name: &str, on: Shape, arguments: &[Shape]) -> Option<Shape> {
    match (name, on.kind, arguments) {
        ("contains" | "startsWith" | "endsWith", ValueKind::One(Type::Text), [part])
            if part.is(Type::Text) =>
        {
            Some(Shape::of(Type::Bool))
        }
        ("size", ValueKind::One(Type::Text) | ValueKind::Many(_), []) => Some(Shape::of(Type::Int)),
        (name, ValueKind::One(Type::Timestamp), []) if TIME_PARTS.contains(&name) => {
            Some(Shape::of(Type::Int))
        }
        ("getHours" | "getMinutes" | "getSeconds", ValueKind::One(Type::Duration), []) => {
            Some(Shape::of(Type::Int))
        }
        _ => None,
    }
}

/// The functions that are called with a value, `name(argument)`.
pub(super) fn function(name: &str, argument: Shape) -> Option<Shape> {
    match (name, argument.kind) {
        ("size", ValueKind::One(Type::Text) | ValueKind::Many(_))
        | ("int", ValueKind::One(Type::Timestamp | Type::Int)) => Some(Shape::of(Type::Int)),
        // A number, a time or `false` in words is never longer.
        ("string", ValueKind::One(_)) => Some(Shape::text(argument.bytes.max(64))),
        _ => None,
    }
}

/// The parts of a time that can be read, in UTC or in the time zone that is given.
pub(super) const TIME_PARTS: [&str; 9] = [
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfYear",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
];

/// All functions, in words.
pub(super) fn names() -> String {
    format!(
        "size, contains, startsWith, endsWith, matches, all, exists, exists_one, filter, map, string, \
         int, timestamp, duration, {}",
        TIME_PARTS.join(", ")
    )
}
