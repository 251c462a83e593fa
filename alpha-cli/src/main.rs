//! The command `alpha`.

fn main() -> std::process::ExitCode {
    alpha_cli::main()
}
