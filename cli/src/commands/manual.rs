//! The manual page of the whole program: what all commands have in common, and a section for each of them.

use std::io::{Result, Write};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::args::Cli;
use crate::fault::EXIT_STATUS;

/// The page, in the language of `man`.
pub(super) fn page() -> Result<String> {
    let mut root = Cli::command();
    // Names of programs and the flags that all commands take are passed on.
    root.build();
    let man = Man::new(root.clone());
    let mut page = preamble();
    page += &rendered(title)?;
    page += &rendered(|to| man.render_name_section(to))?;
    page += &rendered(|to| man.render_synopsis_section(to))?;
    page += &rendered(|to| man.render_description_section(to))?;
    page += &rendered(|to| man.render_options_section(to))?;
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        page += &section(command)?;
    }
    page += &rendered(|to| {
        let mut roff = Roff::new();
        roff.control("SH", ["EXIT STATUS"]);
        as_it_is(&mut roff, EXIT_STATUS);
        roff.control("SH", ["SEE ALSO"]).text([roman("kubectl(1)")]);
        roff.to_writer(to)
    })?;
    Ok(page)
}

/// What makes apostrophes what they are: the beginning of whatever is rendered.
fn preamble() -> String {
    Roff::new().render()
}

fn title(to: &mut dyn Write) -> Result<()> {
    let release = concat!("kubectl-jit ", env!("CARGO_PKG_VERSION"));
    // An argument that is empty would be none.
    let nothing = "\"\"";
    Roff::new().control("TH", ["KUBECTL-JIT", "1", nothing, release, "kubectl jit"]).to_writer(to)
}

/// A command: its arguments and flags but for those that all commands take.
fn section(command: &Command) -> Result<String> {
    let own = command.clone().mut_args(|arg| {
        let is_common = arg.is_global_set() || arg.get_id() == "help";
        if is_common { arg.hide(true) } else { arg }
    });
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_uppercase();
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    let more = command.get_after_long_help().map(ToString::to_string);
    let man = Man::new(own);
    let mut section = rendered(|to| Roff::new().control("SH", [&*name]).to_writer(to))?;
    for part in [
        rendered(|to| man.render_description_section(to))?,
        rendered(|to| man.render_synopsis_section(to))?,
        rendered(|to| man.render_options_section(to))?,
    ] {
        section += &part.replace(".SH DESCRIPTION\n", "").replace(".SH ", ".SS ");
    }
    section += &rendered(|to| {
        let mut roff = Roff::new();
        if !aliases.is_empty() {
            roff.control("PP", []).text([roman(format!("Also: {}.", aliases.join(", ")))]);
        }
        if let Some(more) = &more {
            as_it_is(&mut roff, more);
        }
        roff.to_writer(to)
    })?;
    Ok(section)
}

/// Lines that stay lines.
fn as_it_is(roff: &mut Roff, text: &str) {
    roff.control("PP", []).control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

/// A part of the page, without what stands at its beginning once.
fn rendered(render: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<String> {
    let mut bytes = Vec::new();
    render(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.strip_prefix(&*preamble()).unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_with_its_flags() {
        let page = page().unwrap();
        let root = Cli::command();
        for command in root.get_subcommands() {
            let heading = format!(".SH \"KUBECTL JIT {}\"\n", command.get_name().to_uppercase());
            assert_eq!(page.contains(&heading), !command.is_hide_set(), "{heading}{page}");
            let (_, section) = page.split_once(&heading).unwrap_or_default();
            let section = section.split(".SH ").next().unwrap_or_default();
            for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                let flag = format!("\\-\\-{}", long.replace('-', "\\-"));
                assert!(section.contains(&flag) || command.is_hide_set(), "{flag}: {section}");
            }
            assert!(!section.contains("\\-\\-kubeconfig"), "that is of all commands: {section}");
        }
        assert_eq!(page.matches("\\-\\-request\\-timeout\\fR \\fI<SECONDS>").count(), 1);
        assert_eq!(page.matches(&*preamble()).count(), 1);
        assert!(page.contains("\n.TH KUBECTL-JIT 1 \"\" \"kubectl-jit "), "{page}");
        // A line each, as they are in the help.
        for line in ["130  interrupted (Ctrl\\-C); 128 and", "  kubectl jit request edit \\-n shop"]
        {
            assert!(page.contains(&format!("\n{line}")), "{line}: {page}");
        }
    }
}
