//! What a stranger wrote into a capture: it names no files, runs nothing when pasted, and does not steer the terminal.

use crate::program::{Run, file, run};
use std::fs::{self, File};
use std::process::Command;

const TOKEN: &str = "token-0123456789ab";
const CONFIGURATION: &str = r#"{"policies": [{"name": "p", "match": {"path": {"prefix": "/"}},
  "content_types": ["application/json", "application/x-www-form-urlencoded"],
  "require": {"token": {"bearer": true, "secrets": [{"env": "TOKEN"}]}}}]}"#;

fn explain(test: &str, capture: impl AsRef<[u8]>, more: &[&str]) -> Run {
    let config = file(test, "configuration.json", CONFIGURATION);
    let request = file(test, "capture", capture);
    let arguments = ["explain", "--config", &config, "--request", &request];
    run(&[&arguments[..], more].concat(), &[("TOKEN", TOKEN), ("CLICOLOR_FORCE", "1")], b"")
}

#[test]
fn a_curl_capture_reads_files_only_where_that_is_allowed() {
    let test = "hostile_files";
    let body = file(test, "body.txt", "from a file");
    let fifo = format!("{body}.fifo");
    drop(fs::remove_file(&fifo));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let large = file(test, "large", "");
    File::options().write(true).open(&large).unwrap().set_len((64 << 20) + 1).unwrap();
    let half = file(test, "half", "");
    File::options().write(true).open(&half).unwrap().set_len(40 << 20).unwrap();
    let flag = "--allow-files";
    let rows: Vec<(String, &str, &str)> = vec![
        ("-d @/etc/passwd".into(), flag, "is not a regular file"),
        ("-d@/etc/passwd".into(), flag, ""),
        ("--data @/etc/passwd".into(), flag, ""),
        ("--data=@/etc/passwd".into(), flag, ""),
        ("--data-ascii @/etc/passwd".into(), flag, ""),
        ("--data-binary @/etc/passwd".into(), flag, ""),
        ("--json @/etc/passwd".into(), flag, ""),
        ("--data-binary @/dev/zero".into(), flag, "is not a regular file"),
        ("-d @/dev/stdin".into(), flag, "is not a regular file"),
        (format!("-d @{fifo}"), flag, "is not a regular file"),
        ("-d @/etc".into(), flag, "is not a regular file"),
        (format!("-d @{large}"), flag, "more than 64 MiB"),
        (format!("-d @{half} --data-binary @{half}"), flag, "more than 64 MiB"),
        ("-d @-".into(), "give it with --body", "give it with --body"),
        ("-d @".into(), flag, "is not a regular file"),
        ("-d @no/such/file".into(), flag, "No such file"),
        // Options that would read a file, which no flag allows.
        ("-F a=@/etc/passwd".into(), "the option -F is not known", "the option -F is not known"),
        ("--form a=@/etc/passwd".into(), "--form is not known", "--form is not known"),
        ("-K /etc/passwd".into(), "-K is not known", "-K is not known"),
        ("--config /etc/passwd".into(), "--config is not known", "--config is not known"),
        ("-T /etc/passwd".into(), "-T is not known", "-T is not known"),
        (
            "--data-urlencode a@/etc/passwd".into(),
            "--data-urlencode is not known",
            "--data-urlencode is not known",
        ),
        ("-H @/etc/passwd".into(), "headers from a file", "headers from a file"),
        ("-H @/etc/passwd:x".into(), "headers from a file", "headers from a file"),
        ("-b /etc/passwd".into(), "cookies from a file", "cookies from a file"),
        ("-n".into(), "-n is not known", "-n is not known"),
    ];
    for (options, without, with) in rows {
        let line = format!("curl https://hooks.example.com/hook {options}");
        let refused = explain(test, &line, &[]);
        assert_eq!((refused.status, refused.stdout.as_str()), (2, ""), "{options}: {refused:?}");
        assert!(refused.stderr.contains(without), "{options}: {refused:?}");
        if with.is_empty() || options.contains("passwd") && without == flag {
            continue;
        }
        let refused = explain(test, &line, &[flag]);
        assert_eq!((refused.status, refused.stdout.as_str()), (2, ""), "{options}: {refused:?}");
        assert!(refused.stderr.contains(with), "{options}: {refused:?}");
    }
    let line =
        format!("curl https://hooks.example.com/hook -H 'authorization: Bearer {TOKEN}' --data-binary @");
    for name in [body.as_str(), "body.txt"] {
        let run = explain(test, format!("{line}{name}"), &[flag]);
        assert!(run.status == 0 && run.stdout.contains("11 bytes"), "{run:?}");
    }
    // The doctor reads the same captures.
    let request = file(test, "doctor", "curl https://a.example/ -d @/etc/passwd");
    let arguments = ["doctor", "--provider", "github", "--secret-env", "TOKEN", "--request", &request];
    let refused = run(&arguments, &[("TOKEN", TOKEN)], b"");
    assert!(refused.status == 2 && refused.stderr.contains(flag), "{refused:?}");
}

#[test]
fn a_header_of_ones_own_replaces_what_curl_would_send() {
    let test = "hostile headers";
    let other = "https://hooks.example.com/hook";
    let bearer = format!("-H 'Authorization: Bearer {TOKEN}'");
    let plain = "415 content_type_not_allowed";
    for (options, said) in [
        (format!("--json '{{}}' {bearer}"), "allow"),
        (format!("--json '{{}}' -H 'Content-Type: application/json' {bearer}"), "allow"),
        (format!("-H 'content-type: application/json' --json '{{}}' {bearer}"), "allow"),
        (format!("--json '{{}}' -H 'Content-Type: text/plain' {bearer}"), plain),
        (format!("--json '{{}}' -H 'Content-Type:' {bearer}"), plain),
        (format!("-d a=b {bearer}"), "allow"),
        (format!("-d a=b -H 'Content-Type: text/plain' {bearer}"), plain),
        (format!("-H 'Content-Type:' -d a=b {bearer}"), plain),
        (format!("-d a=b -u user:password {bearer}"), "allow"),
        (format!("{bearer} -d a=b -u user:password"), "allow"),
        ("-d a=b -u user:password".to_owned(), "401 token_m"),
        (format!("-d a=b {bearer} -H 'Authorization: Bearer x'"), "401 token_ambiguous"),
    ] {
        let run = explain(test, format!("curl {other} {options}"), &[]);
        assert!(run.stdout.contains(said), "{options}: {run:?}");
    }
    // Several --json are put together as they are, and -d behind them with an &.
    for (options, length) in
        [("--json '{' --json '}'", 2), ("--json '{}' -d a", 4), ("-d a --json b", 2), ("-d a -d b", 3)]
    {
        let run = explain(test, format!("curl {other} {options} {bearer}"), &[]);
        assert!(run.stdout.contains(&format!(", {length} bytes")), "{options}: {run:?}");
    }
}

#[test]
fn the_name_of_a_variable_runs_nothing() {
    for name in ["A}$(cmd){", "A B", "A;id", "", "1A", "A-B", "A\n", "Ä", "`id`", "A\"x"] {
        let run = run(&["sign", "--provider", "gitlab", "--secret-env", name], &[("A", TOKEN)], b"");
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{name:?}: {run:?}");
        assert!(run.stderr.contains("is not the name of an environment variable"), "{name:?}: {run:?}");
        let doctor = ["doctor", "--provider", "gitlab", "--secret-env", name, "--request", "-"];
        let run = crate::program::run(&doctor, &[("A", TOKEN)], b"");
        assert!(run.stderr.contains("is not the name of an environment variable"), "{name:?}: {run:?}");
    }
    let run = run(&["sign", "--provider", "gitlab", "--secret-env", "_a1"], &[("_a1", TOKEN)], b"");
    assert!(run.status == 0 && run.stdout.contains("${_a1}"), "{run:?}");
}
