//! `webhook-guard addresses`: what can be pasted, and what a configuration lacks or has too much. Fetching is tested beside
//! the gateway (tests/envoy/test_feeds_command.py).

use crate::program::{file, run};

const GITHUB: &str =
    r#"{"hooks": ["192.30.252.0/23", "192.30.254.0/23", "185.199.108.0/22"], "web": ["10.0.0.0/8"]}"#;

fn addresses(arguments: &[&str], stdin: &str) -> (i32, String, String) {
    let arguments: Vec<&str> = ["addresses"].iter().chain(arguments).copied().collect();
    let run = run(&arguments, &[], stdin.as_bytes());
    (run.status, run.stdout, run.stderr)
}

#[test]
fn a_list_is_printed_for_allow_in_as_few_prefixes_as_can_be() {
    let github = file("addresses", "github.json", GITHUB);
    let (status, stdout, stderr) = addresses(&["github", "--file", &github], "");
    assert_eq!((status, stdout.as_str()), (0, "[\"185.199.108.0/22\", \"192.30.252.0/22\"]\n"), "{stderr}");
    let (status, stdout, stderr) = addresses(&["github", "--file", "-"], GITHUB);
    assert_eq!((status, stdout.as_str()), (0, "[\"185.199.108.0/22\", \"192.30.252.0/22\"]\n"), "{stderr}");
    let aws = r#"{"prefixes": [{"ip_prefix": "192.0.2.0/24", "service": "EC2", "region": "eu-west-1"},
        {"ip_prefix": "198.51.100.0/24", "service": "API_GATEWAY", "region": "eu-west-1"},
        {"ip_prefix": "203.0.113.0/24", "service": "API_GATEWAY", "region": "eu-west-2"}], "ipv6_prefixes": []}"#;
    for (conditions, printed) in [
        (&["service=API_GATEWAY"][..], "[\"198.51.100.0/24\", \"203.0.113.0/24\"]\n"),
        (&["service=API_GATEWAY", "region=eu-west-2"], "[\"203.0.113.0/24\"]\n"),
        (
            &["service=API_GATEWAY", "service=EC2", "region=eu-west-1"],
            "[\"192.0.2.0/24\", \"198.51.100.0/24\"]\n",
        ),
    ] {
        let mut arguments = vec!["aws", "--file", "-"];
        arguments.extend(conditions.iter().flat_map(|one| ["--where", one]));
        assert_eq!(addresses(&arguments, aws).1, printed, "{conditions:?}");
    }
    assert_eq!(
        addresses(&["razorpay"], "").1,
        "[\"3.136.42.4/32\", \"3.140.215.0/32\", \"18.224.88.246/32\"]\n"
    );
}

#[test]
fn what_is_wrong_with_the_question_or_the_list_is_said() {
    for (arguments, stdin, said) in [
        (&["githb"][..], "", "did you mean \"github\"?"),
        (&["zendesk", "--file", "-"], "", "zendesk needs --authority"),
        (&["aws", "--file", "-", "--where", "service"], "", "--where: \"service\" is not MEMBER=VALUE"),
        (
            &["telegram", "--file", "-", "--where", "a=b"],
            "192.0.2.1\n",
            "has a meaning for a list of addresses in JSON only",
        ),
        (&["github", "--file", "-"], "{}", "-: there is no address in it"),
        (&["github", "--file", "-"], "<html>", "-: the answer is not JSON: after 0 bytes"),
        (&["github", "--file", "/nowhere"], "", "/nowhere: "),
        (&["razorpay", "--file", "-"], "", "the provider publishes a page only"),
        (&["--against", "x"], "", "<NAME>"),
    ] {
        let (status, stdout, stderr) = addresses(arguments, stdin);
        assert_eq!((status, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

fn configuration(policies: &[(&str, &str)]) -> String {
    let policy = |(name, require): &(&str, &str)| {
        format!(
            "    {{\"name\": \"{name}\", \"match\": {{\"path\": \"/{name}\"}}, \"require\": {{{require}}}}}"
        )
    };
    let policies: Vec<String> = policies.iter().map(policy).collect();
    format!("{{\n  \"policies\": [\n{}\n  ]\n}}\n", policies.join(",\n"))
}

#[test]
fn drift_is_told_for_the_lists_that_are_meant() {
    let signed = r#""signature": {"provider": "github", "secrets": [{"env": "A"}]}"#;
    let allow = |list: &str| format!(r#""source_ip": {{"allow": {list}}}"#);
    let both = |list: &str| format!("{}, {signed}", allow(list));
    let current = r#"["192.30.252.0/22", "185.199.108.0/22"]"#;
    let old = r#"["192.30.252.0/22", "192.0.2.7"]"#;
    let elsewhere = r#"["203.0.113.0/24"]"#;
    let drift = "  lacks         185.199.108.0/22\n  has too much  192.0.2.7\n";
    for (name, policies, more, status, said) in [
        ("current", vec![("a", both(current))], &[][..], 0, "policy \"a\": as the feed\n"),
        ("old", vec![("a", both(old))], &[], 1, drift),
        ("by the policy's name", vec![("github", allow(old)), ("b", allow(current))], &[], 1, drift),
        ("by its addresses", vec![("a", allow(elsewhere)), ("b", allow(old))], &[], 1, drift),
        (
            "by --policy",
            vec![("a", both(old)), ("b", allow(current))],
            &["--policy", "b"],
            0,
            "policy \"b\": as the feed\n",
        ),
        (
            "in a branch",
            vec![("a", format!(r#""any_of": [{{{}}}, {{{signed}}}]"#, allow(old)))],
            &[],
            1,
            drift,
        ),
        ("kept by a feed", vec![("a", both(r#"[{"feed": "github"}]"#))], &[], 0, ""),
    ] {
        let policies: Vec<(&str, &str)> =
            policies.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let path = file("addresses", "against.json", configuration(&policies));
        let mut arguments = vec!["github", "--file", "-", "--against", &path];
        arguments.extend(more);
        let (got, stdout, stderr) = addresses(&arguments, GITHUB);
        assert_eq!(got, status, "{name}: {stdout}{stderr}");
        assert!(stdout.ends_with(said), "{name}: {stdout}");
    }
    let path = file("addresses", "none.json", configuration(&[("a", &allow(elsewhere))]));
    let (status, _, stderr) = addresses(&["github", "--file", "-", "--against", &path], GITHUB);
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains("name the policy that is meant with --policy"), "{stderr}");
}

#[test]
fn a_plain_list_is_compared_and_programs_are_told_in_json() {
    let path = file("addresses", "list.json", r#"["192.30.252.0/22", "192.0.2.7"]"#);
    let (status, stdout, _) =
        addresses(&["github", "--file", "-", "--against", &path, "--format", "json"], GITHUB);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((status, &report["is_current"], &report["feed"]), (1, &false.into(), &"github".into()));
    assert_eq!(report["lists"][0]["lacks"], serde_json::json!(["185.199.108.0/22"]));
    assert_eq!(report["lists"][0]["too_much"], serde_json::json!(["192.0.2.7"]));
    let path = file("addresses", "bad.json", r#"["192.30.252.0/22", "here"]"#);
    let (status, _, stderr) = addresses(&["github", "--file", "-", "--against", &path], GITHUB);
    assert_eq!(
        (status, stderr.contains("\"here\" is neither an IP address nor a CIDR block")),
        (2, true),
        "{stderr}"
    );
}

#[test]
fn the_catalogue_says_where_each_list_is_published() {
    let (status, stdout, _) = addresses(&[], "");
    assert_eq!(status, 0);
    assert!(stdout.contains("https://api.github.com/meta"), "{stdout}");
    assert!(
        stdout.contains("a page, read on 2026-11-26: https://razorpay.com/docs/security/whitelists"),
        "{stdout}"
    );
    let json: serde_json::Value = serde_json::from_str(&addresses(&["--format", "json"], "").1).unwrap();
    assert!(json.as_array().unwrap().len() > 30);
}
