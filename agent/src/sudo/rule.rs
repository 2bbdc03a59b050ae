//! The text of a rule, in which nothing means to sudo what it does not say in the order.

use chrono::{DateTime, Utc};
use lapse_crds::Command;

/// What the sudo of a host understands, as found by trying. Nothing is written that it was not seen to accept: a line
/// that it does not know makes every sudo of everybody print an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is found by a try of its own")]
pub struct Dialect {
    /// `NOTAFTER=`: sudo 1.8.20 or later, and not sudo-rs.
    pub not_after: bool,
    /// Arguments as `^...$`: sudo 1.9.10 or later, and not sudo-rs.
    pub patterns: bool,
    /// `Defaults` for one user that name a service of PAM: sudo 1.8.8 or later, and not sudo-rs.
    pub services: bool,
    /// Escapes in arguments as in sudo, which sudo-rs reads in its own way.
    pub escapes: bool,
    /// A log of one user's own, as JSON, with what commands start and how they end: sudo 1.9.8 or later, and not sudo-rs.
    pub logs: bool,
}

/// The service of PAM by which sudo opens the sessions of who has a right.
pub const SERVICE: &str = "lapse-sudo";
/// The same, for `sudo -i`.
pub const LOGIN_SERVICE: &str = "lapse-sudo-i";
/// How sudo logs what is done by who has a right; where, follows. It goes on where it cannot: a full log must keep nobody from
/// what they were given.
pub const LOGGING: &str =
    "log_allowed, log_denied, log_exit_status, log_format=json, ignore_logfile_errors";
/// How it logs what these start, too: it follows them as a debugger does, and what outlives it can start nothing more.
pub const LOGGING_CHILDREN: &str = "log_subcmds";

/// Why there is no rule for an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A user ID that is not given rights.
    #[error(
        "writing a rule of sudo for user ID 0: root may do everything already. Name another local user"
    )]
    Root,
    /// No command.
    #[error("writing a rule of sudo without a command: it would give nothing. Name one")]
    Nothing,
    /// A path that sudo would read as something else.
    #[error(
        "writing a rule of sudo for the program {0:?}: it is no absolute path of letters, digits, _, ., + and -, \
         without .. and hidden parts. Name the program so"
    )]
    Path(String),
    /// An argument that sudo would read as something else.
    #[error(
        "writing a rule of sudo for {path} with the argument {argument:?}: {why}. Ask for an argument without it"
    )]
    Argument {
        /// The program.
        path: String,
        /// Which.
        argument: String,
        /// Why not.
        why: &'static str,
    },
    /// An expression that does not bound the arguments as a whole, or that sudo reads differently.
    #[error("writing a rule of sudo for {path} with the expression {pattern:?}: {why}")]
    Pattern {
        /// The program.
        path: String,
        /// Which.
        pattern: String,
        /// Why not, and what to do.
        why: &'static str,
    },
}

/// What a user may do with sudo, until when.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// The user, by number: a name may be a list, an alias or a group to sudo.
    pub uid: u32,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// Which commands; `None` is every command.
    pub commands: Option<&'a [Command]>,
    /// Where it logs, if it does.
    pub log: Option<Log<'a>>,
}

/// What is logged, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log<'a> {
    /// The file.
    pub path: &'a str,
    /// Whether what commands start is logged, too.
    pub children: bool,
}

impl Rule<'_> {
    /// Its text, as a file of its own.
    ///
    /// # Errors
    /// If it cannot be said to this sudo with certainty.
    pub fn text(&self, dialect: Dialect) -> Result<String, RuleError> {
        if self.uid == 0 {
            return Err(RuleError::Root);
        }
        let commands = match self.commands {
            None => "ALL".to_owned(),
            Some([]) => return Err(RuleError::Nothing),
            Some(commands) => {
                let texts: Result<Vec<_>, _> =
                    commands.iter().map(|command| command_text(command, dialect)).collect();
                texts?.join(", ")
            }
        };
        // 14 digits and Z: without a zone it is the local time of the host. sudo counts the named second in, so the
        // second that the end lies in is not named.
        let end = self.expires_at - chrono::TimeDelta::seconds(1);
        let end = if dialect.not_after {
            format!("NOTAFTER={} ", end.format("%Y%m%d%H%M%SZ"))
        } else {
            String::new()
        };
        let uid = self.uid;
        // Sudo of this user opens its sessions by services of Lapse, which put what is started where it can be ended. Nobody
        // else's sudo is touched by that.
        let services = if dialect.services {
            format!(
                "Defaults:#{uid} pam_service={SERVICE}, pam_login_service={LOGIN_SERVICE}, pam_session\n"
            )
        } else {
            String::new()
        };
        let log = match self.log.filter(|_| dialect.logs) {
            Some(Log { path, children }) => {
                let children =
                    if children { format!("{LOGGING_CHILDREN}, ") } else { String::new() };
                format!("Defaults:#{uid} {LOGGING}, {children}logfile={path}\n")
            }
            None => String::new(),
        };
        Ok(format!("{services}{log}#{uid} ALL=(root) {end}NOPASSWD: {commands}\n"))
    }
}

fn command_text(command: &Command, dialect: Dialect) -> Result<String, RuleError> {
    let Command { path, args, args_pattern } = command;
    if !is_program(path) {
        return Err(RuleError::Path(path.clone()));
    }
    match args_pattern {
        Some(pattern) => {
            let refused =
                |why| RuleError::Pattern { path: path.clone(), pattern: pattern.clone(), why };
            if !args.is_empty() {
                return Err(refused("it has arguments, too. Give one of both"));
            }
            if !dialect.patterns {
                return Err(refused(
                    "the sudo of this host knows no expressions. Ask for exact arguments",
                ));
            }
            check_pattern(pattern).map_err(refused)?;
            Ok(format!("{path} {pattern}"))
        }
        // Without this, a program may be called with any arguments.
        None if args.is_empty() => Ok(format!("{path} \"\"")),
        None => {
            let mut text = path.clone();
            for argument in args {
                let escaped = escaped(argument, dialect).map_err(|why| RuleError::Argument {
                    path: path.clone(),
                    argument: argument.clone(),
                    why,
                })?;
                text.push(' ');
                text.push_str(&escaped);
            }
            Ok(text)
        }
    }
}

fn is_program(path: &str) -> bool {
    let is_part = |part: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
        part.bytes().all(is_inner)
            && part.bytes().next().is_some_and(|first| !b".-".contains(&first))
    };
    path.len() <= 255 && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_part))
}

/// One argument, so that sudo compares it and nothing else.
fn escaped(argument: &str, dialect: Dialect) -> Result<String, &'static str> {
    if argument.is_empty() {
        return Err("it is empty, which a rule cannot say");
    }
    let mut text = String::with_capacity(argument.len());
    for character in argument.chars() {
        match character {
            '"' => return Err("two \" mean no arguments to sudo"),
            '\\' => return Err("a \\ is read twice by sudo, and once by others"),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '/' | '+' | '-' | '@' | '%' => {
                text.push(character);
            }
            '!'..='~' if !dialect.escapes => {
                return Err("the sudo of this host is not known to read this character as it is");
            }
            // What separates in a rule, and what stands for other text in one.
            ',' | ':' | '=' | '#' | '*' | '?' | '[' | ']' | '!' | '^' => {
                text.push('\\');
                text.push(character);
            }
            '!'..='~' => text.push(character),
            _ => {
                return Err(
                    "it has white space, or what is not printable ASCII; sudo joins arguments by spaces",
                );
            }
        }
    }
    Ok(text)
}

/// Holds for the arguments as a whole, and says the same to POSIX as to the engine.
fn check_pattern(pattern: &str) -> Result<(), &'static str> {
    let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    let inner = inner.ok_or("it does not begin with ^ and end with $. Anchor it")?;
    if inner.ends_with('\\') {
        return Err("its last $ is escaped, so that it has no end. Anchor it");
    }
    let (mut depth, mut is_class, mut characters) = (0_u32, false, inner.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            ',' | ':' | '=' | '#' | '"' => {
                return Err(
                    "sudo may read , : = # and \" in it as the end of the command. Use a . for them",
                );
            }
            '^' if is_class => {}
            '^' | '$' => return Err("it has another anchor within. Remove it"),
            '\\' if is_class => return Err("a \\ in a class is itself to sudo. Remove it"),
            ' '..='~' if is_class => is_class = character != ']',
            '[' => {
                is_class = true;
                // A ] that comes first belongs to the class.
                if characters.peek() == Some(&'^') {
                    characters.next();
                }
                if characters.peek() == Some(&']') {
                    characters.next();
                }
            }
            '\\' if characters.next().is_none_or(|next| next.is_ascii_alphanumeric()) => {
                return Err("classes such as \\d are not known to sudo. Write [0-9]");
            }
            '(' if characters.peek() == Some(&'?') => {
                return Err("groups such as (?i) are not known to sudo. Remove it");
            }
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("it closes a group that is not open")?,
            '|' if depth == 0 => {
                return Err(
                    "its | is in no group, so that ^ and $ hold for one side each. Write ^(a|b)$",
                );
            }
            ' '..='~' => {}
            _ => return Err("it is not printable ASCII"),
        }
    }
    if depth > 0 || is_class { Err("a group or class in it does not end") } else { Ok(()) }
}

#[cfg(test)]
mod tests;
