//! The texts that are made of the definitions.

use crate::program::{file, run};

#[test]
fn the_schema_is_the_shipped_one() {
    let shipped = include_str!("../../envoy/webhook-guard.schema.json");
    let run = run(&["schema"], &[], b"");
    assert_eq!((run.status, run.stdout.as_str()), (0, shipped));
}

#[test]
fn nonsense_is_a_usage_error() {
    let run = run(&["no-such-command"], &[], b"");
    assert_eq!(run.status, 2, "{run:?}");
    assert!(run.stderr.contains("unrecognized subcommand"), "{run:?}");
    assert!(run.stdout.is_empty(), "{run:?}");
}

/// The sub-commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = run(&["--help"], &[], b"").stdout;
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    // A description that goes on in the next line is indented further.
    let lines = list.lines().filter(|line| !line.starts_with("   "));
    let names = lines.filter_map(|line| line.trim().split(' ').next());
    let names: Vec<String> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(names.len() >= 6, "{help}");
    names
}

/// The long options of a sub-command.
fn options(command: &str) -> Vec<String> {
    let help = run(&[command, "--help"], &[], b"").stdout;
    let lines = help
        .lines()
        .filter_map(|line| line.trim_start().split("--").nth(1).filter(|_| line.trim().starts_with('-')));
    let option = |rest: &str| rest.split([' ', '<']).next().unwrap().to_owned();
    lines.map(option).filter(|option| option != "help").collect()
}

#[test]
fn the_man_page_covers_every_command_and_option() {
    let page = run(&["man"], &[], b"");
    assert_eq!(page.status, 0, "{page:?}");
    for command in commands() {
        let heading = format!(".SS \"webhook\\-guard {command}\"\n");
        let section =
            page.stdout.split(&heading).nth(1).unwrap_or_else(|| panic!("{command} is not in the page"));
        let section = section.split("\n.S").next().unwrap();
        for option in options(&command) {
            let written = format!("\\fB\\-\\-{}\\fR", option.replace('-', "\\-"));
            assert!(section.contains(&written), "{command}: --{option} is not in {section}");
        }
    }
    for heading in [".SH NAME", ".SH SYNOPSIS", ".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", ".SH EXAMPLES"] {
        assert_eq!(page.stdout.matches(heading).count(), 1, "{heading}");
    }
    assert_eq!(page.stdout.matches("\n.TH").count(), 1, "one head for one page");
}

#[test]
fn the_man_pages_examples_are_commands_that_exist() {
    let page = run(&["man"], &[], b"").stdout;
    let examples = page.split(".SH EXAMPLES").nth(1).unwrap();
    let lines = examples.lines().filter_map(|line| line.strip_prefix("webhook\\-guard "));
    let mut count = 0;
    for line in lines {
        let words: Vec<String> = line.split(' ').map(|word| word.replace('\\', "")).collect();
        assert!(commands().contains(&words[0]), "{line}");
        let known = options(&words[0]);
        for option in words.iter().filter_map(|word| word.strip_prefix("--")) {
            assert!(known.iter().any(|known| known == option), "{line}: --{option}");
        }
        count += 1;
    }
    assert!(count >= 4, "{examples}");
}

#[test]
fn every_shell_has_completions_for_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = run(&["completions", shell], &[], b"");
        assert_eq!(run.status, 0, "{run:?}");
        for command in commands() {
            assert!(run.stdout.contains(&command), "{shell}: {command}");
            for option in options(&command) {
                // fish writes an option without its dashes.
                assert!(run.stdout.contains(&option), "{shell}: {command} --{option}");
            }
        }
    }
    let unknown = run(&["completions", "tcsh"], &[], b"");
    assert!(unknown.status == 2 && unknown.stderr.contains("bash"), "{unknown:?}");
}

#[test]
fn bash_completes_what_was_begun() {
    let script = run(&["completions", "bash"], &[], b"").stdout;
    for (words, expected) in [
        (&["do"][..], "doctor"),
        (&["doctor", "--secret-f"], "--secret-file"),
        (&["completions", "zs"], "zsh"),
    ] {
        let line = format!(
            "{script}\nCOMP_WORDS=(webhook-guard {})\nCOMP_CWORD={}\n_webhook__guard webhook-guard {}\necho \"${{COMPREPLY[*]}}\"\n",
            words.join(" "),
            words.len(),
            words[words.len() - 1]
        );
        let path = file("completions", "script", line);
        let output = std::process::Command::new("bash").arg(path).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim(), expected, "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
