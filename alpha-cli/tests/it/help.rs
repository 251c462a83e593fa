//! The help of every command, in both languages.

use alpha_cli::language::Language;
use alpha_cli::usage;

/// Every command line that ends in a command, `alpha` first.
fn commands(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
    found.push(path.to_vec());
    for subcommand in command.get_subcommands() {
        if subcommand.get_name() == "help" {
            continue;
        }
        let mut path = path.to_vec();
        path.push(subcommand.get_name().to_owned());
        commands(subcommand, &path, found);
    }
}

/// The help of the commands of alerts and duties, which scripts and people learn by heart.
#[test]
fn the_help_of_alerts_and_duties() {
    let mut found = Vec::new();
    commands(&usage::command(Language::English), &[], &mut found);
    let mut out = String::new();
    for path in found {
        let is_ours = path
            .first()
            .is_some_and(|first| ["serve", "alert", "incident", "oncall"].contains(&first.as_str()));
        if !is_ours {
            continue;
        }
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let run = crate::command::alpha(&arguments);
        assert_eq!(run.code, 0, "{path:?}");
        out.push_str(&format!("$ alpha {}\n{}\n", arguments.join(" "), run.output));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn every_command_has_help_in_both_languages() {
    let mut found = Vec::new();
    commands(&usage::command(Language::English), &[], &mut found);
    assert!(found.len() > 40, "{}", found.len());
    for path in found {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.extend(["--help", "--lang", "zh"]);
        let run = crate::command::alpha(&arguments);
        assert_eq!(run.code, 0, "{path:?}");
        assert!(run.output.contains("用法"), "{path:?}: {}", run.output);
    }
}
