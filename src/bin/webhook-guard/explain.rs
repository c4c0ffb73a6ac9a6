//! `explain`: what the gateway makes of a captured request, step by step.
//!
//! Responsible for telling which policy governs the request and why no other, how each of its checks goes, and what
//! follows. Refuses to know any rule: every line is an answer of the core.

use crate::capture::{self, CaptureArguments};
use crate::environment::Keep;
use crate::gateway::ConfigurationArguments;
use crate::judge::{self, Circumstances};
use crate::terminal::{Answer, Cell, Failure, Format, Table, Tone};
use crate::words;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use webhook_guard::check::signature::{SignatureCheck, field};
use webhook_guard::check::token::{Place, TokenCheck};
use webhook_guard::policy::requirement::Requirement;
use webhook_guard::policy::{Check, Leaf, Policy, PolicySet};
use webhook_guard::query;
use webhook_guard::request::{Facts, Headers};
use webhook_guard::route::{HostPattern, Match, PathPattern};
use webhook_guard::verdict::{Reason, Ruling, Verdict};

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,
    #[command(flatten)]
    capture: CaptureArguments,
    /// The gateway's clock: RFC 3339 or seconds since 1970. By default the time of the capture, where its form tells,
    /// or else the time now
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// The source address as the gateway saw it
    #[arg(long, value_name = "ADDRESS")]
    source_ip: Option<String>,
    /// The policy that the route names in its metadata
    #[arg(long, value_name = "POLICY")]
    route_policy: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One step of the judgement.
struct Step {
    name: String,
    /// How deep it stands in the requirement.
    depth: usize,
    outcome: Result<String, Reason>,
}

pub(crate) fn run(arguments: &ExplainArguments) -> Result<Answer, Failure> {
    let mut capture = arguments.capture.read()?;
    let (configuration, environment) = arguments.configuration.read()?;
    let token_headers = token_headers(&configuration.policies);
    capture.fill_in(|header, keep| match keep {
        _ if !token_headers.contains(header) => Ok(None),
        Keep::Variable(name) => Ok(environment.get(name)),
        Keep::File(path) => arguments.capture.read_token(path).map(Some),
    })?;
    let now = match &arguments.now {
        Some(text) => capture::time(text).ok_or_else(|| {
            Failure(format!(
                "--now: {text:?} is neither RFC 3339, such as 2027-01-31T00:00:00Z, nor seconds since 1970"
            ))
        })?,
        None => capture.time.unwrap_or_else(judge::now),
    };
    let circumstances = Circumstances {
        source: arguments.source_ip.as_deref().or(capture.source.as_deref()),
        route_policy: arguments.route_policy.as_deref(),
        now,
    };
    let ruling = judge::judge(&configuration.policies, &capture, circumstances);
    let headers = capture.headers();
    let facts = circumstances.facts(&headers, !capture.body.is_empty());
    let governing = ruling.as_ref().and_then(|ruling| ruling.record.policy.as_deref());
    let candidates = candidates(&configuration.policies, &facts, governing);
    let chosen = configuration.policies.iter().find(|policy| Some(policy.name.as_ref()) == governing);
    let steps = chosen.map_or(Vec::new(), |policy| steps(policy, &headers, &facts, &capture.body));
    let is_good =
        ruling.as_ref().is_none_or(|ruling| !matches!(ruling.verdict, Verdict::Deny(_) | Verdict::Report(_)));
    let target = without_tokens(&configuration.policies, &capture.target);
    let request = format!("{} {target} for {}", capture.method, capture.authority);
    let text = match arguments.format {
        Format::Json => {
            let report = json!({
                "request": {"method": capture.method, "target": target, "authority": capture.authority,
                            "source": circumstances.source, "body_bytes": capture.body.len()},
                "notes": capture.notes,
                "policies": candidates.iter().map(|(name, is_chosen, why)| {
                    json!({"name": name, "chosen": is_chosen, "why": why})
                }).collect::<Vec<Value>>(),
                "checks": steps.iter().map(|step| json!({
                    "check": step.name,
                    "outcome": if step.outcome.is_ok() { "pass" } else { "fail" },
                    "reason": step.outcome.as_ref().map_or_else(|reason| reason.code(), |_| "ok"),
                })).collect::<Vec<Value>>(),
                "verdict": verdict_json(ruling.as_ref()),
            });
            format!("{report:#}\n")
        }
        Format::Text => {
            let mut text =
                format!("{}  {request}, {} bytes", Tone::Strong.paint("request "), capture.body.len());
            text.push_str(
                &circumstances
                    .source
                    .map_or(", from nowhere known".to_owned(), |source| format!(", from {source}")),
            );
            text.push('\n');
            for note in &capture.notes {
                text.push_str(&format!("          {} {note}\n", Tone::Doubt.paint("note:")));
            }
            text.push_str(&format!("{}\n{}", Tone::Strong.paint("policies"), policies_table(&candidates)));
            if !steps.is_empty() {
                text.push_str(&format!("{}\n{}", Tone::Strong.paint("checks"), steps_table(&steps)));
            }
            text.push_str(&format!(
                "{}   {}\n",
                Tone::Strong.paint("verdict"),
                verdict_text(ruling.as_ref(), chosen)
            ));
            text
        }
    };
    Ok(Answer { text, is_good })
}

/// The headers in which a policy looks for a token, in lower case, and which nothing else is read from: what a delivery
/// is called is shown.
fn token_headers(policies: &PolicySet) -> BTreeSet<String> {
    let leaves = || policies.iter().flat_map(|policy| &policy.leaves);
    let tokens = leaves().filter_map(|leaf| match &leaf.check {
        Check::Token(check) => Some(check.place.header()?.to_ascii_lowercase()),
        Check::Source(_) | Check::Signature(_) => None,
    });
    let shown: BTreeSet<String> = leaves()
        .filter_map(|leaf| match &leaf.delivery_id.as_ref()?.place {
            field::Place::Header(name) => Some(name.to_ascii_lowercase()),
            field::Place::Query(_) | field::Place::Json(_) => None,
        })
        .collect();
    tokens.filter(|name| !shown.contains(name)).collect()
}

/// The target as it may be shown: without the tokens that a sender writes into the query.
fn without_tokens(policies: &PolicySet, target: &str) -> String {
    let leaves = policies.iter().flat_map(|policy| &policy.leaves);
    let parameters = leaves.filter_map(|leaf| match &leaf.check {
        Check::Token(TokenCheck { place: Place::Query(name), .. }) => Some(name.clone()),
        _ => None,
    });
    let parameters: Vec<_> = parameters.collect();
    let shown = query::without(target.as_bytes(), |name| parameters.iter().any(|one| one.as_bytes() == name));
    shown.map_or(target.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Every policy: its name, whether it is the one, and why.
fn candidates(
    policies: &PolicySet,
    facts: &Facts<'_>,
    governing: Option<&str>,
) -> Vec<(String, bool, String)> {
    let authority = facts.headers.first(b":authority").unwrap_or_default();
    let why = |policy: &Policy| {
        let is_chosen = governing == Some(policy.name.as_ref());
        let why = match (&policy.rule, facts.route_policy) {
            (_, Some(name)) if name == policy.name.as_bytes() => "the route names it".to_owned(),
            (_, Some(_)) => "the route names another".to_owned(),
            (None, None) => "has no `match`: only a route can name it".to_owned(),
            (Some(rule), None) => {
                let any_host = Match { hosts: vec![HostPattern::Any], ..rule.clone() };
                let why = match () {
                    () if !any_host.governs(facts.path(), authority) => "another path: ",
                    () if !rule.governs(facts.path(), authority) => "another host: ",
                    () if !rule.admits(facts.method()) => "another method: ",
                    () if !is_chosen => "less specific: ",
                    () => "",
                };
                format!("{why}{}", patterns(rule))
            }
        };
        (policy.name.to_string(), is_chosen, why)
    };
    policies.iter().map(why).collect()
}

fn patterns(rule: &Match) -> String {
    let path = |pattern: &PathPattern| match pattern {
        PathPattern::Exact(path) => path.to_string(),
        PathPattern::Prefix(path) => format!("{path} and below"),
    };
    let host = |pattern: &HostPattern| match pattern {
        HostPattern::Any => None,
        HostPattern::Suffix(_, suffix) => Some(format!("*{suffix}")),
        HostPattern::Exact(host) => Some(host.to_string()),
    };
    let paths: Vec<String> = rule.paths.iter().map(path).collect();
    let hosts: Vec<String> = rule.hosts.iter().filter_map(host).collect();
    let on = if hosts.is_empty() { String::new() } else { format!(" on {}", hosts.join(", ")) };
    format!("{} {}{on}", rule.methods.join(", "), paths.join(", "))
}

/// Every check of a policy, also those that the gateway does not come to because a cheaper one has failed.
fn steps(policy: &Policy, headers: &Headers, facts: &Facts<'_>, body: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(rule) = &policy.rule {
        let outcome =
            if rule.admits(facts.method()) { Ok(String::new()) } else { Err(Reason::MethodNotAllowed) };
        steps.push(Step { name: "method".to_owned(), depth: 0, outcome });
    }
    let mut step = |name: &str, is_allowed: bool, reason| {
        let outcome = if is_allowed { Ok(String::new()) } else { Err(reason) };
        steps.push(Step { name: name.to_owned(), depth: 0, outcome });
    };
    if headers.first(b"upgrade").is_some() {
        step("upgrade", false, Reason::UpgradeNotAllowed);
    }
    if policy.content_types.is_some() {
        step("content_types", policy.is_content_type_allowed(facts), Reason::ContentTypeNotAllowed);
    }
    step("content_encodings", policy.is_content_encoding_allowed(facts), Reason::ContentEncodingNotAllowed);
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    step("max_body_bytes", length <= policy.max_body_bytes, Reason::BodyTooLarge);
    if let Some(requirement) = &policy.requirement {
        tree(requirement, policy, facts, body, 0, &mut steps);
    }
    steps
}

fn tree(
    requirement: &Requirement,
    policy: &Policy,
    facts: &Facts<'_>,
    body: &[u8],
    depth: usize,
    steps: &mut Vec<Step>,
) -> bool {
    match requirement {
        Requirement::Check(index) => {
            let Some(leaf) = policy.leaves.get(*index) else { return false };
            let outcome = leaf_outcome(leaf, facts, body);
            let holds = outcome.is_ok();
            steps.push(Step { name: leaf_name(leaf), depth, outcome });
            holds
        }
        Requirement::All(members) => {
            // A single member is not worth a line of its own.
            let inner = if depth == 0 || members.len() == 1 { depth } else { depth.saturating_add(1) };
            let mut lines = Vec::new();
            let mut all = true;
            for member in members {
                all &= tree(member, policy, facts, body, inner, &mut lines);
            }
            if inner != depth {
                let first = lines.iter().find_map(|step: &Step| step.outcome.as_ref().err().copied());
                let outcome = if all { Ok(String::new()) } else { Err(first.unwrap_or(Reason::HostFault)) };
                steps.push(Step { name: "all_of".to_owned(), depth, outcome });
            }
            steps.append(&mut lines);
            all
        }
        Requirement::Any(branches) => {
            let mut lines = Vec::new();
            let mut any = false;
            for branch in branches {
                any |= tree(branch, policy, facts, body, depth.saturating_add(1), &mut lines);
            }
            let outcome = if any { Ok(String::new()) } else { Err(Reason::NoAlternativeHeld) };
            steps.push(Step { name: "any_of".to_owned(), depth, outcome });
            steps.append(&mut lines);
            any
        }
    }
}

fn leaf_name(leaf: &Leaf) -> String {
    let provider = leaf.provider.as_deref();
    match &leaf.check {
        Check::Source(_) => "source_ip".to_owned(),
        Check::Token(token) => {
            let place = match &token.place {
                Place::Query(name) => format!("in the query, {name}"),
                Place::Header(name) => format!("in {name}"),
                Place::Bearer => "Bearer".to_owned(),
                Place::Basic { .. } | Place::BasicAny => "Basic".to_owned(),
            };
            match provider {
                Some(provider) => format!("token of {provider} ({place})"),
                None => format!("token ({place})"),
            }
        }
        Check::Signature(_) => format!("signature of {}", provider.unwrap_or("a custom scheme")),
    }
}

/// What the check says, with the id of the secret that matched.
fn leaf_outcome(leaf: &Leaf, facts: &Facts<'_>, body: &[u8]) -> Result<String, Reason> {
    let id = match &leaf.check {
        Check::Source(check) => return check.judge(facts.source).map(|()| String::new()),
        Check::Token(check) => check.judge(facts)?,
        Check::Signature(check) => signature(check, facts, body)?,
    };
    Ok(id.map_or(String::new(), |id| format!("by the secret {id}")))
}

fn signature(
    check: &SignatureCheck,
    facts: &Facts<'_>,
    body: &[u8],
) -> Result<Option<std::rc::Rc<str>>, Reason> {
    let mut running = check.begin(facts)?;
    running.update(body);
    running.finish().map(|held| held.secret_id)
}

fn policies_table(candidates: &[(String, bool, String)]) -> Table {
    let mut table = Table::indented(2);
    for (name, is_chosen, why) in candidates {
        let (mark, tone) = if *is_chosen { ("chosen", Tone::Good) } else { ("-", Tone::Faint) };
        table.row([Cell::new(name, Tone::Plain), Cell::new(mark, tone), Cell::new(why, Tone::Plain)]);
    }
    table
}

fn steps_table(steps: &[Step]) -> Table {
    let mut table = Table::indented(2);
    for Step { name, depth, outcome } in steps {
        let name = format!("{:1$}{name}", "", depth.saturating_mul(2));
        match outcome {
            Ok(more) => table.row([name.into(), Cell::new("pass", Tone::Good), more.clone().into()]),
            Err(reason) => {
                let why = format!("{}: {}", reason.code(), words::of(*reason));
                table.row([name.into(), Cell::new("fail", Tone::Bad), why.into()]);
            }
        }
    }
    table
}

fn verdict_json(ruling: Option<&Ruling>) -> Value {
    let Some(ruling) = ruling else { return json!({"verdict": "leave", "reason": "-"}) };
    let record = &ruling.record;
    let status = match &ruling.verdict {
        Verdict::Deny(denial) => Some(denial.status),
        Verdict::Answer(reply) => Some(reply.status),
        Verdict::Allow(_) | Verdict::Report(_) => None,
    };
    json!({
        "verdict": ruling.verdict.code(),
        "reason": ruling.verdict.reason_code(),
        "status": status,
        "policy": record.policy.as_deref(),
        "provider": record.provider.as_deref(),
        "delivery_id": record.delivery_id.as_deref(),
        "secret_ids": record.secret_ids.iter().map(|id| id.to_string()).collect::<Vec<_>>(),
        "checks": record.checks.to_string(),
    })
}

fn verdict_text(ruling: Option<&Ruling>, chosen: Option<&Policy>) -> String {
    let Some(ruling) = ruling else {
        return "left alone: no policy governs it, and the configuration says `\"unmatched\": \"pass\"`"
            .to_owned();
    };
    match &ruling.verdict {
        Verdict::Allow(_) => Tone::Good.paint("allow: forwarded to the upstream"),
        Verdict::Answer(reply) => {
            Tone::Good.paint(&format!("answer {}: a handshake, answered by the gateway", reply.status))
        }
        Verdict::Report(reason) => {
            let text =
                format!("report {}: forwarded, but only because the policy is in report mode", reason.code());
            format!("{}; {}", Tone::Doubt.paint(&text), words::of(*reason))
        }
        Verdict::Deny(denial) => {
            let text = format!("deny {} {}", denial.status, denial.reason.code());
            format!("{}: {}{}", Tone::Bad.paint(&text), words::of(denial.reason), next(denial.reason, chosen))
        }
    }
}

/// What to do next, where another command knows more.
fn next(reason: Reason, chosen: Option<&Policy>) -> String {
    let is_signature = matches!(
        reason,
        Reason::SignatureMissing
            | Reason::SignatureMalformed
            | Reason::SignatureMismatch
            | Reason::TimestampMissing
            | Reason::TimestampMalformed
            | Reason::TimestampStale
            | Reason::TimestampFuture
            | Reason::RequirementNotMet
    );
    let provider = chosen.and_then(|policy| policy.leaves.iter().find_map(|leaf| leaf.provider.as_deref()));
    match provider.filter(|_| is_signature) {
        Some(provider) => {
            format!(
                "\n          next: webhook-guard doctor --provider {provider} --secret-env NAME --request FILE"
            )
        }
        None => String::new(),
    }
}
