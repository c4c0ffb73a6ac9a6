//! README and docs stay true: every configuration that they show is one, and every reason that the README lists is one.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use webhook_guard_core::config;
use webhook_guard_core::decision::Reason;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn readme() -> String {
    fs::read_to_string(format!("{ROOT}/README.md")).unwrap()
}

/// The pages under docs/.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(format!("{ROOT}/docs")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_configuration_shown_is_accepted() {
    let text = [vec![readme()], pages()].concat().join("\n");
    let json = text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let in_yaml = text.split("value: |\n").skip(1).filter_map(|rest| rest.split("```").next());
    let shown: Vec<&str> = json.chain(in_yaml).collect();
    assert!(shown.len() >= 3, "README and docs show {} configurations", shown.len());
    for configuration in shown {
        let env = |_: &str| Some("a secret of the documentation".to_owned());
        if let Err(error) = config::parse(configuration.as_bytes(), &env) {
            panic!("{error}\n{configuration}");
        }
    }
}

#[test]
fn every_reason_is_listed_with_its_status_and_nothing_else_is() {
    let text = readme();
    let chapter = text.split("## What is refused, and why").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = chapter.lines().filter(|line| line.starts_with("| `"));
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, codes, status, ..] = cells.as_slice() else { panic!("{row}") };
        for code in codes.split(", ") {
            let reason =
                Reason::from_code(code.trim_matches('`')).unwrap_or_else(|| panic!("{code} is no reason"));
            assert_eq!(*status, reason.status().to_string(), "{code}");
            listed.insert(reason);
        }
    }
    assert_eq!(listed, BTreeSet::from(Reason::ALL));
}
