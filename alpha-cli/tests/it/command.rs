//! Runs `alpha` in-process.

use std::ffi::OsString;
use std::path::Path;

use alpha_cli::Terminal;
use alpha_cli::terminal::Capture;

/// What a run of `alpha` printed and returned.
pub(crate) struct Run {
    pub(crate) code: u8,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Runs `alpha` with these arguments, without a person at the terminal.
pub(crate) fn alpha(arguments: &[&str]) -> Run {
    alpha_at(Terminal::captured(), arguments)
}

/// Runs `alpha` with these arguments at this terminal.
pub(crate) fn alpha_at(terminal: Terminal, arguments: &[&str]) -> Run {
    let (output, errors) = (Capture::default(), Capture::default());
    let mut terminal = terminal.writing_to(&output, &errors);
    let arguments = ["alpha"].iter().chain(arguments).map(OsString::from);
    let exit = alpha_cli::run(arguments, &mut terminal);
    Run {
        code: exit.code(),
        output: output.text(),
        errors: errors.text(),
    }
}

/// Writes `text` to `name` in `folder` and returns its path as an argument.
pub(crate) fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_wrong_argument_ends_in_the_exit_code_of_its_command() {
    assert_eq!(alpha(&["check", "--frobnicate"]).code, 3);
    assert_eq!(alpha(&["config", "--frobnicate"]).code, 2);
    assert_eq!(alpha(&["frobnicate"]).code, 2);
    assert_eq!(alpha(&[]).code, 2);
    assert_eq!(alpha(&["--help"]).code, 0);
}

#[test]
fn help_and_mistakes_are_told_in_chinese_too() {
    let help = alpha(&["--lang", "zh", "--help"]);
    assert!(help.output.contains("用法"), "{}", help.output);
    let mistake = alpha(&["--lang", "zh", "chekc"]);
    assert!(
        mistake.errors.contains("check") && !mistake.errors.contains("did you mean"),
        "{}",
        mistake.errors
    );
}

#[test]
fn every_shell_gets_completions_and_every_command_a_manual_page() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(alpha(&["completions", shell]).output.contains("alpha"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(alpha(&["man", "--out", folder.path().to_str().unwrap()]).code, 0);
    for page in ["alpha.1", "alpha-check.1", "alpha-config-check.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
}
