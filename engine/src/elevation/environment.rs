//! Which environment variables make a program that runs as root run other code, as data.
//!
//! Whoever offers an application sets its environment, and is trusted; these are left out because they say where code is
//! looked for, or what is run before or beside the program, which is then not the program that approvers read. What each
//! program does with variables of its own is its own affair.

/// A variable, or several, by which other code runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Loader {
    /// What they are called.
    pub names: &'static [&'static str],
    /// What they do, as the rest of a sentence about one of them.
    pub how: &'static str,
    /// Who says so.
    pub source: &'static str,
}

const LOADER: &str = "ld.so(8), Secure-execution mode";
const SUDO: &str = "sudo -V as root, Environment variables to remove";

/// Variables that begin so.
pub static PREFIXES: &[Loader] = &[
    Loader {
        names: &["LD_"],
        how: "has the dynamic loader load other code, or look for it elsewhere",
        source: LOADER,
    },
    Loader {
        names: &["LAPSE_"],
        how: "is reserved for what Lapse itself tells programs",
        source: "names.rs of the API",
    },
];

/// Variables of just these names.
pub static NAMES: &[Loader] = &[
    Loader {
        names: &[
            "GCONV_PATH",
            "GETCONF_DIR",
            "GLIBC_TUNABLES",
            "HOSTALIASES",
            "LOCALDOMAIN",
            "LOCPATH",
            "MALLOC_TRACE",
            "NIS_PATH",
            "NLSPATH",
            "RESOLV_HOST_CONF",
            "RES_OPTIONS",
            "TZDIR",
        ],
        how: "has the C library load modules and tables from elsewhere",
        source: LOADER,
    },
    Loader {
        names: &["CDPATH", "FPATH", "PATH"],
        how: "says where programs are looked for that are started by name",
        source: SUDO,
    },
    Loader {
        names: &[
            "BASHOPTS",
            "BASH_ENV",
            "ENV",
            "GLOBIGNORE",
            "IFS",
            "PROMPT_COMMAND",
            "PS4",
            "SHELLOPTS",
            "ZDOTDIR",
        ],
        how: "changes what every shell runs that the program starts",
        source: "bash(1) and zshparam(1)",
    },
    Loader {
        names: &[
            "CLASSPATH",
            "GEM_HOME",
            "GEM_PATH",
            "JAVA_TOOL_OPTIONS",
            "JDK_JAVA_OPTIONS",
            "LUA_CPATH",
            "LUA_INIT",
            "LUA_PATH",
            "NODE_OPTIONS",
            "NODE_PATH",
            "PERL5DB",
            "PERL5LIB",
            "PERL5OPT",
            "PERLIO_DEBUG",
            "PERLLIB",
            "PHPRC",
            "PHP_INI_SCAN_DIR",
            "PYTHONHOME",
            "PYTHONINSPECT",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PYTHONUSERBASE",
            "RUBYLIB",
            "RUBYOPT",
            "TCLLIBPATH",
            "_JAVA_OPTIONS",
        ],
        how: "has an interpreter load other code, or look for it elsewhere",
        source: "sudo -V as root, and the manuals of the interpreters",
    },
    Loader {
        names: &["OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES"],
        how: "has OpenSSL load modules from elsewhere",
        source: "openssl-env(7)",
    },
    Loader {
        names: &[
            "BROWSER",
            "EDITOR",
            "LESSCLOSE",
            "LESSOPEN",
            "MANPAGER",
            "PAGER",
            "SHELL",
            "SUDO_EDITOR",
            "SYSTEMD_EDITOR",
            "SYSTEMD_PAGER",
            "VISUAL",
        ],
        how: "names a program that others start",
        source: "environ(7)",
    },
];

/// How a variable of this name makes other code run, if that is known.
#[must_use]
pub fn runs_other_code(name: &str) -> Option<&'static str> {
    let begins = |loader: &&Loader| loader.names.iter().any(|prefix| name.starts_with(prefix));
    let is_named = |loader: &&Loader| loader.names.contains(&name);
    let found = PREFIXES.iter().find(begins).or_else(|| NAMES.iter().find(is_named));
    found.map(|loader| loader.how)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("LD_PRELOAD", true)]
    #[case("LAPSE_GRANT", true)]
    #[case("NLSPATH", true)]
    #[case("PATH", true)]
    #[case("PYTHONPATH", true)]
    #[case("BASH_ENV", true)]
    #[case("LANG", false)]
    #[case("HOME", false)]
    #[case("MY_LD_LIBRARY_PATH", false)]
    #[case("PATH_INFO", false)]
    fn what_loads_code_is_known_by_its_name(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(runs_other_code(name).is_some(), expected);
    }

    #[test]
    fn every_name_stands_once_and_is_a_name() {
        let mut seen = BTreeSet::new();
        for loader in NAMES {
            for name in loader.names {
                assert!(seen.insert(*name), "{name} stands twice");
                let is_fine = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                assert!(name.chars().all(is_fine), "{name} passes no schema");
            }
            assert!(loader.names.is_sorted(), "{}", loader.how);
        }
    }

    #[test]
    fn every_entry_says_how_and_who_says_so() {
        let line = |loader: &Loader| {
            let Loader { names, how, source } = loader;
            format!("{} {how}. {source}", names.join(", "))
        };
        let lines: Vec<String> = PREFIXES.iter().chain(NAMES).map(line).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        LD_ has the dynamic loader load other code, or look for it elsewhere. ld.so(8), Secure-execution mode
        LAPSE_ is reserved for what Lapse itself tells programs. names.rs of the API
        GCONV_PATH, GETCONF_DIR, GLIBC_TUNABLES, HOSTALIASES, LOCALDOMAIN, LOCPATH, MALLOC_TRACE, NIS_PATH, NLSPATH, RESOLV_HOST_CONF, RES_OPTIONS, TZDIR has the C library load modules and tables from elsewhere. ld.so(8), Secure-execution mode
        CDPATH, FPATH, PATH says where programs are looked for that are started by name. sudo -V as root, Environment variables to remove
        BASHOPTS, BASH_ENV, ENV, GLOBIGNORE, IFS, PROMPT_COMMAND, PS4, SHELLOPTS, ZDOTDIR changes what every shell runs that the program starts. bash(1) and zshparam(1)
        CLASSPATH, GEM_HOME, GEM_PATH, JAVA_TOOL_OPTIONS, JDK_JAVA_OPTIONS, LUA_CPATH, LUA_INIT, LUA_PATH, NODE_OPTIONS, NODE_PATH, PERL5DB, PERL5LIB, PERL5OPT, PERLIO_DEBUG, PERLLIB, PHPRC, PHP_INI_SCAN_DIR, PYTHONHOME, PYTHONINSPECT, PYTHONPATH, PYTHONSTARTUP, PYTHONUSERBASE, RUBYLIB, RUBYOPT, TCLLIBPATH, _JAVA_OPTIONS has an interpreter load other code, or look for it elsewhere. sudo -V as root, and the manuals of the interpreters
        OPENSSL_CONF, OPENSSL_ENGINES, OPENSSL_MODULES has OpenSSL load modules from elsewhere. openssl-env(7)
        BROWSER, EDITOR, LESSCLOSE, LESSOPEN, MANPAGER, PAGER, SHELL, SUDO_EDITOR, SYSTEMD_EDITOR, SYSTEMD_PAGER, VISUAL names a program that others start. environ(7)
        ");
    }
}
