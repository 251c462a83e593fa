//! Which configuration files are accepted, beside `amtool check-config`.

use std::collections::BTreeSet;
use std::path::Path;

use alpha_alerts::RouteTree;
use alpha_alerts::alertmanager::read;
use testbed::{Amtool, need};

const EVERYTHING: &str = include_str!("alertmanager.yml");

fn amtool_accepts(amtool: &Amtool, source: &str) -> Result<(), String> {
    let file = amtool.file("config.yml", source);
    amtool.run(["check-config".as_ref(), file.as_os_str()]).map(drop)
}

fn alpha_accepts(source: &str) -> Result<(), String> {
    read(source, Path::new("config.yml"))
        .map(drop)
        .map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            problems.join("\n")
        })
}

/// The file with one line gone, or changed in one of several ways.
fn mutations() -> Vec<(String, String)> {
    let lines: Vec<&str> = EVERYTHING.lines().collect();
    let mut mutations = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut add = |changed: Option<String>| {
            let changed_lines: Vec<&str> = lines
                .iter()
                .enumerate()
                .filter_map(|(at, line)| {
                    if at == index {
                        changed.as_deref()
                    } else {
                        Some(*line)
                    }
                })
                .collect();
            let name = format!("line {}, {line:?} -> {changed:?}", index + 1);
            mutations.push((name, changed_lines.join("\n")));
        };
        add(None);
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        add(Some(format!("{key}x:{value}")));
        // Two of these for each line, so that every key meets some, and every one many keys.
        let others = ["", " x", " ''", " [x]", " null", " {x: y}", " 5", " []", " {}"];
        for other in [others[index % others.len()], others[(index + 4) % others.len()]] {
            add(Some(format!("{key}:{other}")));
        }
    }
    mutations
}

#[test]
fn what_amtool_accepts_is_accepted() {
    let amtool = need!(Amtool::find());
    assert_eq!(amtool_accepts(&amtool, EVERYTHING), Ok(()));
    assert_eq!(alpha_accepts(EVERYTHING), Ok(()));
    let (mut agreed_on_good, mut agreed_on_bad) = (0, 0);
    let (mut only_here, mut only_there) = (BTreeSet::new(), Vec::new());
    for (name, source) in mutations() {
        match (amtool_accepts(&amtool, &source), alpha_accepts(&source)) {
            (Ok(()), Ok(())) => agreed_on_good += 1,
            (Err(_), Err(_)) => agreed_on_bad += 1,
            (Ok(()), Err(problems)) => only_there.push(format!("{name}: {problems}")),
            (Err(_), Ok(())) => {
                let line = name.split('"').nth(1).unwrap_or_default();
                let key = line.split(':').next().unwrap_or_default();
                only_here.insert(key.trim_matches([' ', '-']).to_owned());
            }
        }
    }
    assert!(
        agreed_on_good > 100 && agreed_on_bad > 100,
        "{agreed_on_good} {agreed_on_bad}"
    );
    assert_eq!(only_there, Vec::<String>::new());
    // Keys that have no counterpart, so that their values are not read, and what is below them.
    let only_here: Vec<String> = only_here.into_iter().collect();
    insta::assert_snapshot!(only_here.join("\n"));
}

/// Other people's files, as the package brings them.
#[test]
fn the_examples_of_the_package_are_accepted_and_route_alike() {
    let amtool = need!(Amtool::find());
    let folder = Path::new("/usr/share/doc/prometheus-alertmanager/examples");
    for path in [
        folder.join("simple.yml"),
        folder.join("ha/alertmanager.yml"),
        "/etc/prometheus/alertmanager.yml".into(),
    ] {
        let Ok(source) = std::fs::read_to_string(&path) else {
            testbed::skip(
                "alertmanager_config::the_examples_of_the_package",
                &testbed::Missing(format!(
                    "no {}: it comes with prometheus-alertmanager",
                    path.display()
                )),
            );
            continue;
        };
        let imported =
            read(&source, &path).unwrap_or_else(|problems| panic!("{}: {problems:?}", path.display()));
        let tree = RouteTree::new(&imported.config.route).unwrap();
        let file = path.display().to_string();
        let shown = amtool
            .run(["config", "routes", "show", "--config.file", &file])
            .unwrap();
        let shown = shown.split_once("default-route").unwrap().1;
        let here = tree.to_string();
        let receivers = |tree: &str| -> Vec<String> {
            let lines = tree.lines().filter_map(|line| line.split_once('{'));
            lines.map(|(_, node)| node.trim().to_owned()).collect()
        };
        assert_eq!(receivers(&here), receivers(shown), "{file}");
    }
}
