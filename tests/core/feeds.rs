//! Proves what an address feed may be: every feed of the catalogue has a sample of its provider's format, from which exactly
//! the addresses are read that stand beside it; what is no whole and plausible list is not taken, for the reason named here;
//! and the source check says what it must while a feed has a list, has none, or has one that is too old.
//!
//! The samples in tests/feeds are made after the documentation that the catalogue names.

#![expect(clippy::unwrap_used, reason = "a broken file must fail the test loudly")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use webhook_guard_core::address::network;
use webhook_guard_core::config;
use webhook_guard_core::decision::Reason;
use webhook_guard_core::feed::{Fault, Feed, Intake, List, Lists, MOST_BYTES, catalogue};
use webhook_guard_core::policy::{AfterHeaders, Check};
use webhook_guard_core::request::{Facts, Headers, Millis};

const NOW: Millis = Millis(1_795_162_445_000);

/// A configuration with these feeds and one policy that has this `source_ip`.
fn configuration(feeds: &str, source_ip: &str) -> config::Configuration {
    let text = format!(
        r#"{{"feeds": {feeds}, "policies": [{{"name": "p", "match": {{"path": "/"}}, "require": {{"source_ip": {source_ip}}}}}]}}"#
    );
    config::parse(text.as_bytes(), &|_| None).unwrap()
}

fn feed(text: &str) -> Feed {
    let feeds = format!(r#"{{"f": {text}}}"#);
    configuration(&feeds, r#"{"allow": [{"feed": "f"}]}"#).feeds.first().unwrap().clone()
}

fn hooks(more: &str) -> Feed {
    feed(&format!(
        r#"{{"cluster": "c", "authority": "a", "path": "/", "json": ["/hooks/*"]{}{more}}}"#,
        if more.is_empty() { "" } else { ", " }
    ))
}

/// What is made of an answer that comes in pieces of that size.
fn taken(feed: &Feed, last: Option<&Arc<List>>, body: &[u8], size: usize) -> Result<List, Fault> {
    let length = body.len().to_string();
    let headers = [(b"content-length".as_slice(), length.as_bytes())];
    let mut intake = Intake::new(feed, last, None, Some(200), headers)?;
    for piece in body.chunks(size.max(1)) {
        intake.update(piece)?;
    }
    intake.finish(NOW)
}

fn list(networks: &[&str]) -> List {
    networks.iter().map(|text| network(text).unwrap()).collect()
}

#[test]
fn every_feed_of_the_catalogue_has_a_sample_from_which_its_addresses_are_read() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/feeds"));
    let mut samples: BTreeSet<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for known in catalogue::all().map(Result::unwrap) {
        let (name, definition) = (known.name, &known.definition);
        if let Some(page) = &definition.initial {
            assert!(definition.format.is_none(), "{name}: a page is not fetched");
            assert!(page.prefixes() == known.networks.len() && known.as_of.unwrap().len() == 10, "{name}");
            continue;
        }
        let form = if samples.remove(&format!("{name}.json")) { "json" } else { "txt" };
        assert!(form == "json" || samples.remove(&format!("{name}.txt")), "{name} has no sample");
        assert!(samples.remove(&format!("{name}.list")), "{name}: the sample's addresses are not listed");
        let own = if definition.authority.is_none() { r#", "authority": "example.zendesk.com""# } else { "" };
        let feed = feed(&format!(r#"{{"catalogue": "{name}", "cluster": "c"{own}}}"#));
        let body = fs::read(directory.join(format!("{name}.{form}"))).unwrap();
        let expected = fs::read_to_string(directory.join(format!("{name}.list"))).unwrap();
        let expected = list(&expected.lines().collect::<Vec<_>>());
        for size in [1, 3, 64, body.len()] {
            let read = taken(&feed, None, &body, size).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            // All but the time.
            assert_eq!(read.bytes()[20..], expected.bytes()[20..], "{name} by {size}");
            assert_eq!((read.prefixes(), read.fetched()), (expected.prefixes(), NOW), "{name}");
        }
    }
    assert!(samples.is_empty(), "belong to no feed: {samples:?}");
}

#[test]
fn the_providers_that_a_feed_names_are_in_the_catalogue_of_providers() {
    let providers: BTreeSet<&str> = webhook_guard_core::catalogue::names().collect();
    for known in catalogue::all().map(Result::unwrap) {
        for provider in &known.providers {
            assert!(providers.contains(provider.as_str()), "{}: {provider}", known.name);
        }
    }
}

#[test]
fn aws_is_narrowed_by_service_and_region() {
    let body =
        fs::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/feeds/aws.json"))).unwrap();
    for (conditions, expected) in [
        (r#"{"service": "API_GATEWAY"}"#, &["18.158.9.104/29"][..]),
        (r#"{"service": ["API_GATEWAY", "EC2"]}"#, &["18.158.9.104/29", "52.94.76.0/22"]),
        (
            r#"{"service": "AMAZON", "region": ["eu-west-1", "eu-south-1"]}"#,
            &["3.4.12.4/32", "2a05:d07a:a000::/40"],
        ),
    ] {
        let feed = feed(&format!(r#"{{"catalogue": "aws", "cluster": "c", "where": {conditions}}}"#));
        let read = taken(&feed, None, &body, 7).unwrap();
        assert_eq!(read.bytes()[20..], list(expected).bytes()[20..], "{conditions}");
    }
    let nobody = feed(r#"{"catalogue": "aws", "cluster": "c", "where": {"service": "NOBODY"}}"#);
    assert_eq!(taken(&nobody, None, &body, 7), Err(Fault::Empty));
}

/// A name, the feed, the last list, an answer, and how many prefixes are taken of it.
type Row<'r> = (&'r str, &'r Feed, Option<&'r Arc<List>>, Vec<u8>, Result<usize, Fault>);

#[test]
fn what_is_no_whole_and_plausible_list_is_not_taken() {
    let hooks_of = |networks: &[&str]| serde_json::json!({ "hooks": networks }).to_string().into_bytes();
    let numbered = |count: u32| -> Vec<String> {
        (0..count).map(|number| std::net::Ipv4Addr::from(0x1400_0000 + 2 * number).to_string()).collect()
    };
    let many = |count: u32| {
        let networks = numbered(count);
        hooks_of(&networks.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let lines = feed(r#"{"cluster": "c", "authority": "a", "path": "/", "lines": true}"#);
    let text = |text: &str| text.as_bytes().to_vec();
    let ten: Vec<String> = numbered(10);
    let last = Some(Arc::new(list(&ten.iter().map(String::as_str).collect::<Vec<_>>())));
    let wide = |text: &str| Err(Fault::TooWide(text.to_owned()));
    let not = |text: &str| Err(Fault::NoNetwork(text.to_owned()));
    let plain = hooks("");
    let long = [hooks_of(&["192.0.2.1"]), vec![b' '; MOST_BYTES]].concat();
    let rows: Vec<Row<'_>> = vec![
        ("one", &plain, None, hooks_of(&["192.0.2.1"]), Ok(1)),
        ("empty list", &plain, None, hooks_of(&[]), Err(Fault::Empty)),
        ("no such member", &plain, None, text(r#"{"web": ["192.0.2.1"]}"#), Err(Fault::Empty)),
        ("nothing at all", &plain, None, Vec::new(), Err(Fault::NotJson(0))),
        ("a page", &plain, None, text("<!doctype html>"), Err(Fault::NotJson(0))),
        (
            "half a document",
            &plain,
            None,
            text(r#"{"hooks": ["192.0.2.1", "192.0."#),
            Err(Fault::NotJson(31)),
        ),
        ("everyone", &plain, None, hooks_of(&["192.0.2.1", "0.0.0.0/0"]), wide("0.0.0.0/0")),
        ("everyone of IPv6", &plain, None, hooks_of(&["::/0"]), wide("::/0")),
        ("shorter than /8", &plain, None, hooks_of(&["10.0.0.0/7"]), wide("10.0.0.0/7")),
        ("/8", &plain, None, hooks_of(&["10.0.0.0/8"]), Ok(1)),
        ("shorter than /16", &plain, None, hooks_of(&["2a00::/15"]), wide("2a00::/15")),
        ("/16", &plain, None, hooks_of(&["2a00::/16"]), Ok(1)),
        ("IPv4 as IPv4-mapped", &plain, None, hooks_of(&["::ffff:0:0/96"]), wide("::ffff:0:0/96")),
        ("more than IPv4-mapped", &plain, None, hooks_of(&["::/64"]), wide("::/64")),
        ("a quarter of IPv4-mapped", &plain, None, hooks_of(&["::ffff:0:0/98"]), wide("::ffff:0:0/98")),
        ("an eighth of a byte of IPv4-mapped", &plain, None, hooks_of(&["::ffff:a00:0/104"]), Ok(1)),
        (
            "host bits",
            &plain,
            None,
            hooks_of(&["192.0.2.1/24"]),
            Err(Fault::HostBits("192.0.2.1/24".to_owned())),
        ),
        ("a range", &plain, None, hooks_of(&["192.0.2.1-192.0.2.9"]), not("192.0.2.1-192.0.2.9")),
        ("a name", &plain, None, hooks_of(&["hooks.example.com"]), not("hooks.example.com")),
        ("control characters are quoted", &plain, None, text("{\"hooks\": [\"a\\nb\"]}"), not("a\\nb")),
        ("as many as may be", &plain, None, many(200_000), Ok(200_000)),
        ("one more", &plain, None, many(200_001), Err(Fault::TooMany)),
        ("300,000", &plain, None, many(300_000), Err(Fault::TooMany)),
        ("more than 8 MiB", &plain, None, long, Err(Fault::TooLong)),
        (
            "no UTF-8",
            &plain,
            None,
            b"{\"hooks\": [\"192.0.2.1\"], \"x\": \"\xff\"}".to_vec(),
            Err(Fault::NotUtf8),
        ),
        ("half a character", &lines, None, b"# \xc3".to_vec(), Err(Fault::NotUtf8)),
        ("half the last", &plain, last.as_ref(), many(5), Ok(5)),
        ("less than half the last", &plain, last.as_ref(), many(4), Err(Fault::Lost(10, 4))),
        ("lines", &lines, None, text("# those\r\n\r\n192.0.2.1\r\n 2001:db8::/32 \n192.0.2.1"), Ok(2)),
        ("no lines", &lines, None, text("# those\n"), Err(Fault::Empty)),
        ("a page for lines", &lines, None, text("<html>\n"), not("<html>")),
        ("a long remark", &lines, None, format!("#{}\n192.0.2.1\n", "x".repeat(4096)).into_bytes(), Ok(1)),
        ("a long line", &lines, None, "1".repeat(4096).into_bytes(), not(&"1".repeat(64))),
        ("two in a line", &lines, None, text("192.0.2.1 192.0.2.2\n"), not("192.0.2.1 192.0.2.2")),
    ];
    for (name, feed, last, body, expected) in rows {
        let sizes = if body.len() > 1 << 20 { vec![64 << 10] } else { vec![1, 2, 7, 64 << 10] };
        for size in sizes {
            let said = taken(feed, last, &body, size).map(|list| list.prefixes());
            assert_eq!(said, expected, "{name} by {size}");
        }
    }
    let everyone: Vec<String> = (0..256).map(|first| format!("{first}.0.0.0/8")).collect();
    let everyone = hooks_of(&everyone.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(taken(&plain, None, &everyone, 64), Err(Fault::AdmitsEveryone));
}

#[test]
fn what_the_initial_list_holds_may_be_as_wide() {
    let wide = hooks(r#""initial": ["0.0.0.0/1"]"#);
    let read = |feed: &Feed, network: &str| {
        taken(feed, feed.initial.as_ref(), format!(r#"{{"hooks": ["{network}"]}}"#).as_bytes(), 5)
    };
    assert_eq!(read(&wide, "0.0.0.0/1").map(|list| list.prefixes()), Ok(1));
    assert_eq!(read(&wide, "0.0.0.0/2").map(|list| list.prefixes()), Ok(1));
    assert_eq!(read(&wide, "0.0.0.0/0"), Err(Fault::TooWide("0.0.0.0/0".to_owned())));
    assert_eq!(read(&wide, "128.0.0.0/1"), Err(Fault::TooWide("128.0.0.0/1".to_owned())));
    let everyone = hooks(r#""initial": ["0.0.0.0/0"]"#);
    assert_eq!(read(&everyone, "0.0.0.0/0").map(|list| list.prefixes()), Ok(1));
}

#[test]
fn the_head_of_an_answer_alone_may_say_that_it_is_none() {
    let feed = hooks("");
    type Pairs<'p> = &'p [(&'p str, &'p str)];
    let rows: &[(Option<u16>, Pairs<'_>, Option<Fault>)] = &[
        (Some(200), &[], None),
        (Some(200), &[("Content-Encoding", "identity")], None),
        (Some(200), &[("content-encoding", "gzip")], Some(Fault::Encoded)),
        (Some(200), &[("content-length", "8388608")], None),
        (Some(200), &[("content-length", "8388609")], Some(Fault::TooLong)),
        (Some(200), &[("content-length", "many")], Some(Fault::Cut)),
        (Some(404), &[], Some(Fault::Status(404))),
        (Some(500), &[], Some(Fault::Status(500))),
        (Some(302), &[("location", "/")], Some(Fault::Status(302))),
        (Some(204), &[], Some(Fault::Status(204))),
        (Some(206), &[], Some(Fault::Status(206))),
        (None, &[], Some(Fault::NoAnswer)),
    ];
    for (status, headers, fault) in rows {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let said = Intake::new(&feed, None, None, *status, headers).err();
        assert_eq!(said, *fault, "{status:?}");
    }
    let mut cut = Intake::new(&feed, None, None, Some(200), [(&b"content-length"[..], &b"99"[..])]).unwrap();
    cut.update(br#"{"hooks": ["192.0.2.1"]}"#).unwrap();
    assert_eq!(cut.finish(NOW), Err(Fault::Cut));
    assert!(Fault::Status(302).to_string().contains("redirect"));
}

/// What a policy says of an address while these lists are current; `-` where it says nothing.
fn judged(configuration: &config::Configuration, lists: &Lists, source: &str, now: Millis) -> &'static str {
    let headers = Headers::from_pairs([(&b":method"[..], &b"POST"[..]), (b":path", b"/")]);
    let facts = Facts {
        headers: &headers,
        source: Some(source.as_bytes()),
        client_certificate: None,
        route_policy: None,
        now,
        ends_with_headers: true,
    };
    match configuration.policies.open(&facts, lists).step {
        AfterHeaders::Settled(decision) => decision.verdict.reason_code(),
        AfterHeaders::Leave | AfterHeaders::AwaitBody(_) => "-",
    }
}

const FEEDS: &str = r#"{
    "github": {"cluster": "github", "max_age_seconds": 7200},
    "begun": {"catalogue": "github", "cluster": "github", "initial": ["192.0.2.0/24"], "max_age_seconds": 7200},
    "paystack": {}
}"#;

fn fetched(networks: &[&str], at: Millis) -> Arc<List> {
    let body = serde_json::json!({ "hooks": networks }).to_string();
    let mut intake = Intake::of(&hooks(""), None, None, None).unwrap();
    intake.update(body.as_bytes()).unwrap();
    Arc::new(intake.finish(at).unwrap())
}

#[test]
fn a_feed_admits_whom_its_list_holds_and_nobody_while_it_has_none() {
    let allow = configuration(FEEDS, r#"{"allow": ["203.0.113.9", {"feed": "github"}, {"feed": "begun"}]}"#);
    let deny = configuration(
        FEEDS,
        r#"{"allow": ["203.0.113.0/24", "192.0.2.0/24", {"feed": "paystack"}], "deny": [{"feed": "github"}]}"#,
    );
    let only_deny = configuration(FEEDS, r#"{"deny": ["203.0.113.9", {"feed": "github"}]}"#);
    let (not_allowed, unknown) = ("source_ip_not_allowed", "source_ip_unknown");
    let none = Lists::new(&allow.feeds);
    let (mut one, mut both) = (none.clone(), none.clone());
    one.take(0, fetched(&["198.51.100.0/24", "203.0.113.8"], NOW));
    both.take(0, fetched(&["198.51.100.0/24", "203.0.113.8"], NOW));
    both.take(1, fetched(&["192.0.3.0/24"], NOW));
    let (old, last) = (Millis(NOW.0 + 7_200_001), Millis(NOW.0 + 7_200_000));
    for (name, configuration, lists, source, now, reason) in [
        ("its own address", &allow, &none, "203.0.113.9", NOW, "ok"),
        ("the initial list", &allow, &none, "192.0.2.7", NOW, "ok"),
        ("the initial list does not age", &allow, &none, "192.0.2.7", Millis(i64::MAX), "ok"),
        ("no list yet", &allow, &none, "198.51.100.7", NOW, unknown),
        ("the list", &allow, &one, "198.51.100.7", NOW, "ok"),
        ("IPv4-mapped", &allow, &one, "::ffff:198.51.100.7", NOW, "ok"),
        ("not on any list", &allow, &one, "198.51.101.7", NOW, not_allowed),
        ("in the place of the initial list", &allow, &both, "192.0.2.7", NOW, not_allowed),
        ("another than the initial list", &allow, &both, "192.0.3.7", NOW, "ok"),
        ("old enough", &allow, &both, "198.51.100.7", last, "ok"),
        ("too old", &allow, &both, "198.51.100.7", old, unknown),
        ("its own address when all is too old", &allow, &both, "203.0.113.9", old, "ok"),
        ("a clock that was put back", &allow, &both, "198.51.100.7", Millis(0), "ok"),
        ("a page", &deny, &one, "52.31.139.75", NOW, "ok"),
        ("denied by the list", &deny, &one, "203.0.113.8", NOW, not_allowed),
        ("not denied by the list", &deny, &one, "203.0.113.7", NOW, "ok"),
        ("allowed, and nobody knows who is denied", &deny, &none, "203.0.113.7", NOW, unknown),
        ("not allowed, whoever is denied", &deny, &none, "198.51.101.7", NOW, not_allowed),
        ("who is denied is too old", &deny, &one, "203.0.113.7", old, unknown),
        ("denied by itself", &only_deny, &none, "203.0.113.9", NOW, not_allowed),
        ("nobody knows who is denied", &only_deny, &none, "203.0.113.7", NOW, unknown),
        ("neither is denied", &only_deny, &one, "203.0.113.7", NOW, "ok"),
    ] {
        assert_eq!(judged(configuration, lists, source, now), reason, "{name}");
    }
}

#[test]
fn a_feed_is_one_branch_of_several() {
    let feeds = r#"{"github": {"cluster": "github"}}"#;
    let text = format!(
        r#"{{"feeds": {feeds}, "policies": [{{"name": "p", "match": {{"path": "/"}}, "require": {{"any_of": [
            {{"source_ip": {{"allow": [{{"feed": "github"}}]}}}}, {{"source_ip": {{"allow": ["192.0.2.1"]}}}}]}}}}]}}"#
    );
    let configuration = config::parse(text.as_bytes(), &|_| None).unwrap();
    let lists = Lists::new(&configuration.feeds);
    assert_eq!(judged(&configuration, &lists, "192.0.2.1", NOW), "ok");
    assert_eq!(judged(&configuration, &lists, "192.0.2.2", NOW), "no_alternative_held");
}

#[test]
fn a_check_that_is_given_no_lists_knows_nobody() {
    let configuration =
        configuration(FEEDS, r#"{"allow": [{"feed": "paystack"}, {"feed": "github"}, {"feed": "begun"}]}"#);
    let policy = configuration.policies.iter().next().unwrap();
    let Check::Source(check) = &policy.leaves[0].check else { panic!("no source check") };
    let said = check.judge(Some(b"52.31.139.75:443"), &Lists::default(), NOW);
    assert_eq!(said, Err(Reason::SourceIpUnknown));
}

#[test]
fn what_decides_the_list_decides_the_identity_and_nothing_else_does() {
    let base = hooks("");
    for (more, is_same) in [
        (r#""refresh_seconds": 7"#, true),
        (r#""max_age_seconds": 77777"#, true),
        (r#""initial": ["192.0.2.1"]"#, false),
        (r#""where": {"a": "b"}"#, false),
    ] {
        assert_eq!(hooks(more).identity == base.identity, is_same, "{more}");
    }
    let elsewhere = feed(r#"{"cluster": "d", "authority": "a", "path": "/", "json": ["/hooks/*"]}"#);
    assert_ne!(elsewhere.identity, base.identity);
}
