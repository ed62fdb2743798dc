//! The arguments of a command that was left out of the build: whatever is asked of it, so that it can say how to bring it in.

/// Whatever is asked of it.
#[derive(clap::Args, Default)]
#[command(disable_help_flag = true)]
#[allow(dead_code, reason = "where all commands are in the build, tests alone use it")]
pub struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}
