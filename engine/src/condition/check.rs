//! The check of a syntax tree: what may stand in it, of which types, and how long it can take.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators};
use chrono::DateTime;
use chrono_tz::Tz;
use lapse_crds::GrantDuration;
use regex::Regex;

use super::functions::{self, Shape, TIME_PARTS, Type, ValueKind};
use super::{MAX_MESSAGE, facts};
use crate::pattern;

/// How deep the syntax tree may be. The interpreter recurses.
pub(super) const MAX_DEPTH: usize = 16;

/// The most steps that an evaluation may take. A step takes some tens of nanoseconds, so that is some
/// hundredths of a second.
pub(super) const MAX_STEPS: u64 = 1_000_000;

/// The functions that look at each element of a list.
const LOOPS: [&str; 5] = ["all", "exists", "exists_one", "filter", "map"];

/// What the check learned of an expression.
pub(super) struct Checked {
    /// Its patterns, compiled.
    pub(super) patterns: BTreeMap<String, Regex>,
    /// The most steps that an evaluation can take.
    pub(super) steps: u64,
}

/// Checks an expression whose macros are not expanded; the error says what is wrong with it.
pub(super) fn check(expression: &IdedExpr) -> Result<Checked, String> {
    let mut check = Check { element: None, times: 1, steps: 0, patterns: BTreeMap::new() };
    let shape = check.visit(expression, 0)?;
    if !shape.is(Type::Bool) {
        return Err(format!("the expression returns {}; it must return bool", shape.kind));
    }
    Ok(Checked { patterns: check.patterns, steps: check.steps })
}

struct Check {
    /// Inside of a loop, the name of its variable and what it stands for.
    element: Option<(String, Shape)>,
    /// How often the part that is being looked at is evaluated at most.
    times: u64,
    steps: u64,
    patterns: BTreeMap<String, Regex>,
}

impl Check {
    fn visit(&mut self, expression: &IdedExpr, depth: usize) -> Result<Shape, String> {
        if depth > MAX_DEPTH {
            return Err(format!(
                "the expression nests more than {MAX_DEPTH} deep: write several conditions, all of which must be true"
            ));
        }
        let shape = match &expression.expr {
            Expr::Literal(literal) => of_literal(literal)?,
            Expr::Ident(name) => self.variable(name)?,
            Expr::Select(select) => field(select)?,
            Expr::List(list) => self.list(&list.elements, depth)?,
            Expr::Call(call) => self.call(call, depth)?,
            // What remains is refused as text already, or is what macros expand to.
            _ => return Err("only values, operators and functions are supported".to_owned()),
        };
        // Variables and literals are borrowed; what is made anew is written whole.
        let is_new = matches!(expression.expr, Expr::List(_) | Expr::Call(_));
        self.spend(if is_new { shape.steps() } else { 1 })?;
        Ok(shape)
    }

    fn spend(&mut self, steps: u64) -> Result<(), String> {
        self.steps = self.steps.saturating_add(steps.saturating_mul(self.times));
        if self.steps <= MAX_STEPS {
            return Ok(());
        }
        Err(format!(
            "the expression can take more than {MAX_STEPS} steps for somebody in 2048 groups; look at each group less \
             often, or write several conditions, all of which must be true"
        ))
    }

    fn variable(&self, name: &str) -> Result<Shape, String> {
        match &self.element {
            Some((element, shape)) if element == name => return Ok(*shape),
            _ => {}
        }
        if name == facts::NOW {
            return Ok(Shape::of(Type::Timestamp));
        }
        if let Some(fields) = facts::fields(name) {
            let fields = names_of(fields);
            return Err(format!("{name} has no value of its own; its fields are {fields}"));
        }
        Err(format!("there is no variable {}; the variables are {}", quoted(name), facts::names()))
    }

    fn list(&mut self, elements: &[IdedExpr], depth: usize) -> Result<Shape, String> {
        let mut list = Shape { kind: ValueKind::Many(None), bytes: 0, items: 0 };
        for element in elements {
            let shape = self.visit(element, depth + 1)?;
            let ValueKind::One(of) = shape.kind else {
                return Err("a list within a list is not supported".to_owned());
            };
            if let ValueKind::Many(Some(others)) = list.kind
                && others != of
            {
                return Err(format!("a list has elements of one type, not {others} and {of}"));
            }
            list.kind = ValueKind::Many(Some(of));
            list.bytes = list.bytes.max(shape.bytes);
            list.items += 1;
        }
        Ok(list)
    }

    fn call(&mut self, call: &CallExpr, depth: usize) -> Result<Shape, String> {
        let CallExpr { func_name: name, target, args } = call;
        match (target, &args[..]) {
            (Some(on), _) if LOOPS.contains(&name.as_str()) => self.each(name, on, args, depth),
            (Some(on), [literal]) if name == "matches" => {
                let on = self.visit(on, depth + 1)?;
                self.matches(on, literal)
            }
            (Some(on), [zone]) if TIME_PARTS.contains(&name.as_str()) => {
                let on = self.visit(on, depth + 1)?;
                time_zone(name, zone)?;
                functions::method(name, on, &[]).ok_or_else(|| unfit(name, &[on]))
            }
            (Some(on), _) => {
                let on = self.visit(on, depth + 1)?;
                let arguments = self.all(args, depth)?;
                let shape = functions::method(name, on, &arguments);
                shape.ok_or_else(|| unfit(name, &[&[on], &arguments[..]].concat()))
            }
            (None, [literal]) if ["timestamp", "duration"].contains(&name.as_str()) => {
                constant(name, literal)
            }
            (None, _) if name == "has" => {
                Err("has() is not supported, because every field is always \
                                               there: what is absent is empty, so write \
                                               request.ticket != ''"
                    .to_owned())
            }
            (None, _) => {
                let arguments = self.all(args, depth)?;
                operation(name, &arguments)
            }
        }
    }

    fn all(&mut self, expressions: &[IdedExpr], depth: usize) -> Result<Vec<Shape>, String> {
        let shapes: Result<Vec<_>, _> =
            expressions.iter().map(|expression| self.visit(expression, depth + 1)).collect();
        let shapes = shapes?;
        // An operator reads its operands whole.
        self.spend(shapes.iter().map(|shape| shape.steps()).sum())?;
        Ok(shapes)
    }

    /// A loop: `list.exists(element, body)` and its like.
    fn each(
        &mut self,
        name: &str,
        list: &IdedExpr,
        args: &[IdedExpr],
        depth: usize,
    ) -> Result<Shape, String> {
        if self.element.is_some() {
            return Err(format!(
                "{name}(…) stands within another loop; one level of all, exists, exists_one, filter \
                 and map is allowed"
            ));
        }
        let range = self.visit(list, depth + 1)?;
        let ValueKind::Many(Some(of)) = range.kind else {
            return Err(format!(
                "{name}(…) looks at each element of a list, not of {}",
                range.kind
            ));
        };
        let (variable, body, condition) = match args {
            [variable, body] => (variable, body, (name != "map").then_some(body)),
            [variable, condition, body] if name == "map" => (variable, body, Some(condition)),
            _ => return Err(format!("{name} is written list.{name}(element, …)")),
        };
        let variable = element_name(name, variable)?;
        let element = Shape { kind: ValueKind::One(of), bytes: range.bytes, items: 0 };
        self.element = Some((variable, element));
        self.times = range.items.max(1);
        // What the loop itself does with each element: bind it, ask whether to go on, keep the result.
        self.spend(4 + element.steps())?;
        if let Some(condition) = condition
            && !self.visit(condition, depth + 1)?.is(Type::Bool)
        {
            return Err(format!("{name}(…) needs a condition that returns bool"));
        }
        let result = if name == "map" { self.visit(body, depth + 1)? } else { element };
        self.element = None;
        self.times = 1;
        match (name, result.kind) {
            ("filter", _) => Ok(range),
            ("map", ValueKind::One(of)) => Ok(Shape {
                kind: ValueKind::Many(Some(of)),
                bytes: result.bytes,
                items: range.items,
            }),
            ("map", ValueKind::Many(_)) => Err("a list within a list is not supported".to_owned()),
            _ => Ok(Shape::of(Type::Bool)),
        }
    }

    fn matches(&mut self, on: Shape, literal: &IdedExpr) -> Result<Shape, String> {
        if !on.is(Type::Text) {
            return Err(unfit("matches", &[on]));
        }
        let source = text_of("matches", literal)?;
        let regex = pattern::partial(source).map_err(|why| format!("matches: {why}"))?;
        self.patterns.insert(source.to_owned(), regex);
        self.spend(on.steps_of_match())?;
        Ok(Shape::of(Type::Bool))
    }
}

fn of_literal(literal: &LiteralValue) -> Result<Shape, String> {
    match literal {
        LiteralValue::Boolean(_) => Ok(Shape::of(Type::Bool)),
        LiteralValue::Int(_) => Ok(Shape::of(Type::Int)),
        LiteralValue::String(text) => {
            Ok(Shape::text(u64::try_from(text.inner().len()).unwrap_or(u64::MAX)))
        }
        LiteralValue::Null => {
            Err("null is not supported: what is absent is an empty string, ''".to_owned())
        }
        LiteralValue::Double(_) | LiteralValue::UInt(_) => {
            Err("numbers are whole, such as 3600".to_owned())
        }
        LiteralValue::Bytes(_) => Err("bytes are not supported".to_owned()),
    }
}

/// `variable.field`. Only variables have fields.
fn field(select: &SelectExpr) -> Result<Shape, String> {
    let name = &select.field;
    let Expr::Ident(variable) = &select.operand.expr else {
        return Err(format!("{} is a field of no variable", quoted(name)));
    };
    let Some(fields) = facts::fields(variable) else {
        return Err(format!(
            "there is no {}: the variables with fields are among {}",
            quoted(&format!("{variable}.{name}")),
            facts::names()
        ));
    };
    let found = fields.iter().find(|(field, _)| field == name).map(|(_, shape)| *shape);
    found.ok_or_else(|| {
        format!("{variable} has no field {}; it has {}", quoted(name), names_of(fields))
    })
}

/// An operator, or a function that is called with values.
fn operation(name: &str, arguments: &[Shape]) -> Result<Shape, String> {
    let shape = match arguments {
        [operand] => {
            functions::unary(name, *operand).or_else(|| functions::function(name, *operand).map(Ok))
        }
        [left, right] => functions::binary(name, *left, *right),
        [condition, yes, no] if name == operators::CONDITIONAL => {
            Some(chosen(*condition, *yes, *no))
        }
        _ => None,
    };
    shape.unwrap_or_else(|| Err(unfit(name, arguments)))
}

/// `condition ? yes : no`.
fn chosen(condition: Shape, yes: Shape, no: Shape) -> Result<Shape, String> {
    if !condition.is(Type::Bool) || yes.kind != no.kind {
        return Err(format!(
            "a ? b : c needs a bool and two values of one type, not {}, {} and {}",
            condition.kind, yes.kind, no.kind
        ));
    }
    let (bytes, items) = (yes.bytes.max(no.bytes), yes.items.max(no.items));
    Ok(Shape { kind: yes.kind, bytes, items })
}

/// The name of the variable of a loop. It may not hide what everybody takes for a variable.
fn element_name(name: &str, variable: &IdedExpr) -> Result<String, String> {
    match &variable.expr {
        Expr::Ident(variable) if facts::fields(variable).is_none() && variable != facts::NOW => {
            Ok(variable.clone())
        }
        _ => Err(format!(
            "{name} is written list.{name}(element, …), where element is a new name, not {}",
            facts::names()
        )),
    }
}

/// A time or a duration that is written out.
fn constant(name: &str, literal: &IdedExpr) -> Result<Shape, String> {
    let text = text_of(name, literal)?;
    if name == "duration" {
        let duration: Result<GrantDuration, _> = text.parse();
        return duration.map(|_| Shape::of(Type::Duration)).map_err(|error| error.to_string());
    }
    let time = DateTime::parse_from_rfc3339(text);
    let error = |_| format!("{} is not a time; write it as 2026-11-21T22:00:00Z", quoted(text));
    time.map(|_| Shape::of(Type::Timestamp)).map_err(error)
}

fn time_zone(name: &str, literal: &IdedExpr) -> Result<(), String> {
    let text = text_of(name, literal)?;
    let error = |_| {
        format!(
            "{} is not a time zone; write its name in the IANA database, such as Europe/Berlin",
            quoted(text)
        )
    };
    text.parse::<Tz>().map(|_| ()).map_err(error)
}

/// The literal text that a function needs: what it says is checked once and for all.
fn text_of<'a>(name: &str, literal: &'a IdedExpr) -> Result<&'a str, String> {
    match &literal.expr {
        Expr::Literal(LiteralValue::String(text)) => Ok(text.inner()),
        _ => Err(format!("{name}(…) needs a string literal, in quotes")),
    }
}

fn unfit(name: &str, arguments: &[Shape]) -> String {
    let kinds: Vec<String> = arguments.iter().map(|shape| shape.kind.to_string()).collect();
    format!(
        "there is no function {} of {}; the functions are {}",
        quoted(name),
        if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(" and ") },
        functions::names()
    )
}

fn names_of(fields: &[(&str, Shape)]) -> String {
    fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// What somebody wrote, cut to what a person wants to read again.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(MAX_MESSAGE / 4).collect::<String>())
}
