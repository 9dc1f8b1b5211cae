//! `warren config`: whether the settings can be used, and what they are.

use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::load::{self, Sources};

/// Settings come from the defaults, then the file, then the environment (`WARREN__SECTION__KEY`).
#[derive(Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Check the settings; exit code 2 when they cannot be used
    Check(Source),
    /// Print every setting in force and where it comes from, secrets masked
    Show(Source),
}

#[derive(Args)]
struct Source {
    /// File with settings; without it only defaults and environment count
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &ConfigArgs) -> anyhow::Result<()> {
    match &arguments.action {
        Action::Check(source) => {
            load::load(&Sources::of_process(source.config.clone()))?;
            writeln!(stdout(), "the settings can be used")?;
        }
        Action::Show(source) => {
            let loaded = load::load(&Sources::of_process(source.config.clone()))?;
            write!(stdout(), "{}", text(&loaded.show()))?;
        }
    }
    Ok(())
}

/// The settings as TOML, the origin of each as a comment behind it.
fn text(settings: &[load::Shown]) -> String {
    let (mut text, mut current) = (String::new(), String::new());
    let split = |shown: &'_ load::Shown| -> (String, String) {
        let (section, name) = shown.key.rsplit_once('.').unwrap_or(("", &shown.key));
        (section.to_owned(), name.to_owned())
    };
    let mut settings: Vec<_> = settings.iter().map(|shown| (split(shown), shown)).collect();
    // The settings of a section in one piece; those of a section inside it come behind.
    settings.sort_by(|(one, _), (other, _)| one.cmp(other));
    for ((section, name), shown) in settings {
        if section != current {
            text.push_str(&format!("{}[{section}]\n", if text.is_empty() { "" } else { "\n" }));
            current = section;
        }
        text.push_str(&format!("{:<60} # {}\n", format!("{name} = {}", shown.value), shown.origin));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back_as_the_same_settings() {
        let loaded = load::load(&Sources::default()).unwrap();
        let shown = text(&loaded.show());
        let back: crate::config::Config = toml::from_str(&shown).unwrap();
        assert_eq!(back, loaded.config, "{shown}");
        assert!(shown.contains("# default"));
    }
}
