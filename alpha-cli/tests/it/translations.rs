//! Everything a user reads has a Chinese translation with the same placeholders, and none is left over.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use alpha_cli::language::chinese;

/// Every English template of the workspace: `text!` in the sources, what the kinds of probe say, the help.
fn templates() -> BTreeSet<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut templates = BTreeSet::new();
    for entry in fs::read_dir(workspace).unwrap() {
        let sources = entry.unwrap().path().join("src");
        if sources.is_dir() && !sources.starts_with(workspace.join("testbed")) {
            collect(&sources, &mut templates);
        }
    }
    for kind in alpha_probes::probe::kinds() {
        for rule in kind.rules {
            templates.extend([rule.says, rule.remedy].map(str::to_owned));
        }
    }
    templates.extend(alpha_cli::usage::phrases());
    // Templates of nothing but placeholders and punctuation are the same in every language.
    templates.retain(|template| has_words(template));
    templates
}

fn collect(folder: &Path, templates: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, templates);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            templates.extend(literals(shipped(&fs::read_to_string(&path).unwrap())));
        }
    }
}

/// The source without its unit tests, which stand at the end of a file.
fn shipped(source: &str) -> &str {
    source.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default()
}

/// The first argument of every `text!` outside of comments.
fn literals(source: &str) -> Vec<String> {
    let code: Vec<&str> = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let calls = code.split("text!(").skip(1).filter_map(|rest| {
        let rest = rest.trim_start();
        rest.starts_with('"').then(|| literal(&rest[1..]))
    });
    calls.collect()
}

/// The string literal that starts after its opening quote, its escapes resolved.
fn literal(rest: &str) -> String {
    let mut text = String::new();
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                Some('\n') => {
                    let rest = characters.as_str().trim_start();
                    characters = rest.chars();
                }
                Some('n') => text.push('\n'),
                Some(escaped) => text.push(escaped),
                None => break,
            },
            character => text.push(character),
        }
    }
    text
}

fn placeholders(template: &str) -> BTreeSet<&str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
        .collect()
}

fn has_words(template: &str) -> bool {
    let mut outside = true;
    template.chars().any(|character| {
        match character {
            '{' => outside = false,
            '}' => outside = true,
            _ => {}
        }
        outside && character.is_alphabetic()
    })
}

#[test]
fn every_template_is_translated() {
    let missing: Vec<_> = templates()
        .into_iter()
        .filter(|template| !chinese().contains_key(template))
        .collect();
    assert!(
        missing.is_empty(),
        "{} templates without Chinese:\n{}",
        missing.len(),
        missing.join("\n")
    );
}

#[test]
fn translations_keep_their_placeholders() {
    for (english, translated) in chinese() {
        assert_eq!(placeholders(english), placeholders(translated), "{english}");
    }
}

#[test]
fn no_translation_is_left_over() {
    let templates = templates();
    let stale: Vec<_> = chinese()
        .keys()
        .filter(|english| !templates.contains(*english))
        .collect();
    assert!(
        stale.is_empty(),
        "translations of templates that are gone: {stale:#?}"
    );
}

#[test]
fn the_scanner_reads_what_rustfmt_writes() {
    let source = "text!(\"a {b}\", b = 1); text!(\n    \"it \\\"is\\\" \\\n     long\",\n); // text!(\"no\")\n// text!(\"never\")\n";
    assert_eq!(literals(source), ["a {b}", "it \"is\" long", "no"]);
    assert!(!has_words("{a}: {b}") && has_words("{a} of {b}"));
}
