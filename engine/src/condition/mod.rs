//! The rules of a policy's own, written in CEL (<https://cel.dev>).
//!
//! The interpreter has no limit of its own, so a condition is bounded before it is ever evaluated:
//!
//! 1. `scan` reads the text: its length, how many words it has and how deep it nests. The parser
//!    recurses, and a stack that overflows ends the process, so this comes before the parser.
//! 2. `check` walks the syntax tree: only known variables, fields and functions, operands that fit
//!    one another, a boolean in the end, one level of comprehensions, and a bound on the steps that an
//!    evaluation can take, from the longest texts and lists that the [`Facts`] may have.
//! 3. The expression is evaluated on samples, so that what can fail is told to the author of the policy
//!    and not to the first requester.
//!
//! What the variables are is told in `docs/conditions.md`.

mod check;
mod facts;
mod functions;
mod polarity;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::extractors::This;
use cel::parser::Parser;
use cel::{Context, Env, ExecutionError, IdedExpr, ParseErrors, Value};
use regex::Regex;

pub use facts::{Facts, RequestFacts, TargetFacts, TargetKind};

#[cfg(panic = "abort")]
compile_error!("a policy could end the program: conditions rely on panics that unwind");

/// The functions of CEL, without optional values. Without macros too: so the check sees an expression
/// as it was written.
static LIBRARY: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// Errors can quote whole lists; this many characters are enough for a person.
const MAX_MESSAGE: usize = 256;

/// A condition that was checked: it is true or false of every request, or fails, within bounds.
#[derive(Clone)]
pub struct Condition {
    source: String,
    expression: Arc<IdedExpr>,
    patterns: Arc<BTreeMap<String, Regex>>,
    steps: u64,
    holds_with_more_groups: bool,
}

impl Condition {
    /// Checks an expression and compiles it. The error says in words what is wrong and what to write
    /// instead; the caller names the field.
    pub fn compile(expression: &str) -> Result<Self, String> {
        scan::scan(expression)?;
        let written = parse(LIBRARY.parser(), expression)?;
        let check::Checked { patterns, steps } = check::check(&written)?;
        let condition = Self {
            source: expression.to_owned(),
            // The same text once more, with the macros that make loops of `exists` and the like.
            expression: Arc::new(parse(Parser::new(), expression)?),
            patterns: Arc::new(patterns),
            steps,
            holds_with_more_groups: polarity::holds_with_more_groups(&written),
        };
        for (what, facts) in facts::samples() {
            let failed = |why| format!("{why} (for {what}, on which it was tried)");
            condition.evaluate(&facts).map_err(failed)?;
        }
        Ok(condition)
    }

    /// Whether the condition holds. An error means that it does not: it says in words why there is no
    /// answer.
    pub fn evaluate(&self, facts: &Facts) -> Result<bool, String> {
        let variables = facts.variables()?;
        let value = contained(|| {
            let mut context = Context::with_env(Arc::clone(&LIBRARY));
            for (name, value) in variables {
                context.add_variable_from_value(name, value);
            }
            let patterns = Arc::clone(&self.patterns);
            let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
                // Every pattern is a literal that the check compiled.
                let pattern = patterns.get(pattern.as_str());
                let unknown = || ExecutionError::function_error("matches", "unknown pattern");
                pattern.map(|pattern| pattern.is_match(&text)).ok_or_else(unknown)
            };
            // The library has no function of this name, as the crate's own, which compiles any pattern
            // each time, is switched off.
            context.add_function("matches", matches).map_err(|error| error.to_string())?;
            Value::resolve(&self.expression, &context).map_err(|error| error.to_string())
        })?;
        match value {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("the expression gave no boolean".to_owned()),
            Err(why) => Err(format!("the expression failed: {}", shortened(&why))),
        }
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it would hold of somebody, too, who is in more groups than it was evaluated with: it asks for groups
    /// that one must be in, and for none that one must not be in.
    #[must_use]
    pub fn holds_with_more_groups(&self) -> bool {
        self.holds_with_more_groups
    }

    /// The most steps that an evaluation can take, whatever the request. To look a value up is one; to
    /// read or to write it whole is one, and one more for each 256 bytes of a text, for each element of
    /// a list.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.source)
    }
}

/// Two conditions are equal when they were written alike.
impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Condition {}

fn parse(parser: Parser, source: &str) -> Result<IdedExpr, String> {
    // One attempt to read on after an error: enough for a good message. Each attempt makes the parser
    // look further ahead, and without a limit a hundred bytes could take it all memory.
    let parser = parser.error_recovery_limit(1);
    contained(|| parser.parse(source).map_err(|errors| in_words(&errors)))?
}

/// The first error of the parser; the list of everything that it would have liked is left out.
fn in_words(errors: &ParseErrors) -> String {
    let told = |text: &str| !text.contains("recovery attempt limit");
    let Some(error) = errors.errors.iter().find(|error| told(&error.msg)) else {
        return "the expression does not compile".to_owned();
    };
    let text = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    let text = text.split(" expecting").next().unwrap_or(text);
    let (line, column) = error.pos;
    format!("the expression does not compile: line {line}, column {column}: {}", shortened(text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Runs the crate. It has places that panic on what its authors thought impossible; a policy must not
/// be able to end a controller, so a panic is an error, and an error means no. Nothing half done
/// survives: what the work changes is its own. An overflow of the stack cannot be caught; that is what
/// the scan of the text is for.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let failed = |_| "the interpreter failed on the expression; write it in another way".to_owned();
    catch_unwind(AssertUnwindSafe(work)).map_err(failed)
}
