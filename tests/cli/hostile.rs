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

/// What a terminal would act upon: escape sequences, C1 controls, marks that turn a text around, and a line of our own.
const EVIL: &str = "a\u{1b}[31mb\u{9b}2Jc\u{202e}d\u{7f}e\u{2066}f\u{200b}g\u{7}h\r";

/// The output as a terminal gets it, without our own colours, holds none of it.
#[track_caller]
fn is_tame(what: &str, run: &Run) {
    for output in [&run.stdout, &run.stderr] {
        let mut bare = output.clone();
        for code in ["0", "1", "2", "31", "32", "33"] {
            bare = bare.replace(&["\u{1b}[", code, "m"].concat(), "");
        }
        let is_bad = |one: &char| {
            one.is_control() && *one != '\n' || "\u{202e}\u{2066}\u{200b}\u{2028}".contains(*one)
        };
        assert_eq!(bare.chars().find(is_bad), None, "{what}: {output:?}");
        // `31` is a colour of ours, but never in the midst of a word.
        assert!(!output.contains("a\u{1b}[31mb"), "{what}: {output:?}");
        assert!(!bare.lines().any(|line| line.starts_with("verdict   allow: forged")), "{what}: {bare}");
    }
}

#[test]
fn nothing_of_a_capture_steers_the_terminal() {
    let test = "hostile terminal";
    let forged = format!("{EVIL}\nverdict   allow: forged");
    let har = |request: serde_json::Value| serde_json::json!({"request": request}).to_string();
    let log = |key: &str| {
        let mut line = serde_json::json!({"method": "POST", "path": "/", "authority": "h", "source": "192.0.2.1:1", "verdict": "deny"});
        line[key] = forged.as_str().into();
        line.to_string()
    };
    let config = file(test, "guard.json", CONFIGURATION);
    let header = |name: &str, value: &str| {
        har(
            serde_json::json!({"method": "POST", "url": "http://h/", "headers": [{"name": name, "value": value}]}),
        )
    };
    let mut captures: Vec<String> =
        ["method", "path", "authority", "source", "verdict", "reason", "policy", "checks", "time"]
            .map(log)
            .into();
    captures.extend([
        har(serde_json::json!({"method": forged, "url": "http://h/", "headers": []})),
        har(serde_json::json!({"method": "POST", "url": format!("http://{forged}/{forged}?{forged}"), "headers": []})),
        header(&format!("x-sig-{forged}"), "1"),
        header("content-encoding", &forged),
        header("x-hub-signature-256", &format!("{forged}=00")),
        header("x-forwarded-host", &forged),
        format!("curl http://h/ --{EVIL}"),
        format!("curl http://h/ '{forged}'"),
        format!("curl http://h/ -H '{forged}'"),
        format!("curl http://h/ -X '{forged}'"),
        format!("curl http://h/ -d '@{forged}'"),
        format!("curl 'http://h/{forged}' -d '{forged}'"),
        format!("curl http://h/ -H \"x{EVIL}: ${{KEY}}\""),
        format!("{{\"{EVIL}\""),
        format!("POST /{EVIL} HTTP/1.1\r\nHost: {EVIL}\r\n\r\n"),
        format!("POST / HTTP/1.1\nHost: h\nx-{EVIL}\n\n"),
        "POST / HTTP/1.1\nHost: h\u{9b}31m\u{202e}\nContent-Encoding: \u{9b}31m\n\n".to_owned(),
    ]);
    let environment = [("TOKEN", TOKEN), ("CLICOLOR_FORCE", "1")];
    for capture in captures {
        let request = file(test, "capture", &capture);
        for format in ["text", "json"] {
            let more = ["--format", format, "--request", &request, "--allow-files"];
            let arguments = [&["explain", "--config", &config], &more[..]].concat();
            is_tame(&capture, &run(&arguments, &environment, b""));
            for provider in ["github", "twilio", "gitlab"] {
                let arguments =
                    [&["doctor", "--provider", provider, "--secret-env", "TOKEN"], &more[..]].concat();
                is_tame(&capture, &run(&arguments, &environment, b""));
            }
        }
    }
    let shown = explain(test, log("verdict"), &[]);
    assert!(
        shown.stdout.contains(r"a\x1b[31mb\u{9b}2Jc\u{202e}d\x7fe\u{2066}f\u{200b}g\x07h\r\nverdict"),
        "{shown:?}"
    );
}

#[test]
fn nothing_of_a_file_or_an_argument_does_either() {
    let test = "hostile arguments";
    let evil = "a\u{1b}[31mb\u{9b}2J\u{202e}";
    let name = file(
        test,
        &format!("{evil}.json"),
        format!("{{\"policies\": [{{\"name\": \"{evil}\", \"{evil}\": 1}}]}}"),
    );
    let yaml = file(test, &format!("{evil}.yaml"), format!("{evil}: [\n"));
    let body = file(test, "body", evil);
    let (option, id) = (format!("--{evil}"), format!("x{evil}"));
    let environment = [("KEY", TOKEN), ("CLICOLOR_FORCE", "1")];
    let sign = ["sign", "--secret-env", "KEY", "--provider"];
    let rows: Vec<Vec<&str>> = vec![
        vec!["check", &name],
        vec!["check", "--format", "json", &name],
        vec!["check", "--format", "sarif", &name],
        vec!["check", &yaml],
        vec!["check", evil],
        vec!["check", &option],
        vec![evil],
        vec!["explain", "--config", &name, "--request", &name],
        vec!["providers", evil],
        vec!["try", "--config", &name, "--url", evil],
        [&sign[..], &["github", "--body", &body]].concat(),
        [&sign[..], &["github", "--body", &name]].concat(),
        [&sign[..], &["svix", "--delivery-id", &id]].concat(),
        [&sign[..], &[evil]].concat(),
        vec!["sign", "--provider", "gitlab", "--secret-file", &name],
        vec!["sign", "--provider", "gitlab", "--secret-env", evil],
    ];
    for arguments in rows {
        is_tame(&format!("{arguments:?}"), &run(&arguments, &environment, b""));
    }
}

/// A file's name is no variable's, whatever it begins with.
#[test]
fn the_name_of_a_file_runs_nothing() {
    let test = "hostile names";
    for name in ["$(touch run)", "$HOME", "a'b", "a\"b`id`)"] {
        let path = file(test, name, TOKEN);
        let run = crate::program::run_in(
            std::path::Path::new(&path).parent().unwrap().to_str().unwrap(),
            &["sign", "--provider", "gitlab", "--secret-file", name],
            &[],
            b"",
        );
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{name}: {run:?}");
        let quoted = shell_words::quote(&path).into_owned();
        assert!(run.stdout.contains(&format!("<{quoted})\"")), "{name}: {run:?}");
    }
}
