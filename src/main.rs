//! The `warren` binary: hands the arguments to `cli` and its verdict to the shell.

use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    warren::cli::run()
}
