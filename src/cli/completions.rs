//! `warren completions`: completion scripts, made from the same description as `--help`.

use clap::Args;
use clap_complete::Shell;

/// Prints the script on stdout, e.g. for `~/.local/share/bash-completion/completions/warren`.
#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell to complete in
    shell: Shell,
}

/// Writes the script of `command` for one shell.
pub fn run(arguments: &CompletionsArgs, command: &mut clap::Command) -> anyhow::Result<()> {
    clap_complete::generate(arguments.shell, command, "warren", &mut std::io::stdout());
    Ok(())
}
