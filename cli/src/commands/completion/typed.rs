//! What stands on the command line before the word that is completed.

use std::ffi::OsString;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::names::LIMIT;
use crate::args::{Cli, Global};
use crate::session::PROGRAM;

/// What stands there, as far as it bears on names.
#[derive(Clone, Debug, Default)]
pub(super) struct Typed {
    /// Where to look.
    pub(super) global: Global,
    /// The requests that are named already.
    pub(super) names: Vec<String>,
    /// Whether a request is explained by files.
    pub(super) is_offline: bool,
}

impl Typed {
    /// Reads all words but the last. What cannot be meant yet is left out: more is to come.
    pub(super) fn before_last(words: &[OsString]) -> Self {
        let before = words.split_last().map(|(_, before)| before).unwrap_or_default();
        let line = std::iter::once(OsString::from(PROGRAM)).chain(before.iter().cloned());
        let read = Cli::command().ignore_errors(true).try_get_matches_from(line);
        let read = read.map(|matches| Self::of(&matches)).unwrap_or_default();
        let global = Global { request_timeout: LIMIT.as_secs(), ..read.global };
        Self { global, ..read }
    }

    fn of(matches: &ArgMatches) -> Self {
        let command = matches.subcommand().map(|(_, matches)| matches);
        let names = command.and_then(|of| of.try_get_many::<String>("names").ok().flatten());
        let has_policies = |of: &ArgMatches| of.try_contains_id("policies").unwrap_or(false);
        Self {
            global: Global::from_arg_matches(matches).unwrap_or_default(),
            names: names.into_iter().flatten().cloned().collect(),
            is_offline: command.is_some_and(has_policies),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn typed(line: &str) -> Typed {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Typed::before_last(&words)
    }

    #[rstest]
    #[case::before("-n shop approve fix ")]
    #[case::after("approve fix -n shop ")]
    #[case::joined("approve --namespace=shop fix --com")]
    #[case::incomplete("approve fix -n shop --for ")]
    #[case::the_last_is_left_out("approve -n shop fix fire")]
    fn where_to_look_and_what_is_named_is_known(#[case] line: &str) {
        let typed = typed(line);
        assert_eq!(typed.global.namespace.as_deref(), Some("shop"));
        assert_eq!(typed.names, ["fix"]);
        assert!(!typed.is_offline);
    }

    #[test]
    fn a_request_in_a_file_is_known_by_its_policies() {
        assert!(typed("explain --policy shop.yaml ").is_offline);
        assert!(!typed("explain ").is_offline);
        assert!(typed("--help ").names.is_empty());
        assert_eq!(typed("list ").global.request_timeout, 2);
    }
}
