//! `explain`: what the gateway makes of a captured request, step by step.
//!
//! Responsible for telling which policy governs the request and why no other, how each of its checks goes, and what
//! follows.

use crate::input::capture::{self, CaptureArguments};
use crate::input::config_files::ConfigurationArguments;
use crate::input::env_file::Keep;
use crate::judge::{self, Circumstances};
use crate::output::reason_text;
use crate::output::terminal::{Answer, Cell, Failure, Format, Table, Text, Tone};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use webhook_guard_core::check::token::{TokenCheck, TokenPlace};
use webhook_guard_core::decision::{CheckKind, CheckStep, Decision, Outcome as Trail, Reason, Verdict};
use webhook_guard_core::feed::Lists;
use webhook_guard_core::matcher::{HostPattern, Match, PathPattern};
use webhook_guard_core::policy::requirement::Requirement;
use webhook_guard_core::policy::{Check, Policy, PolicyCheck, PolicySet};
use webhook_guard_core::record::RecordTerms;
use webhook_guard_core::request::{ClientCertificate, Facts};
use webhook_guard_core::signature::template::Part;
use webhook_guard_core::signature::{End, SignatureCheck, field, json_pointer};
use webhook_guard_core::uri::query;

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
    /// The first DNS name of the sender's TLS certificate, as the gateway saw it
    #[arg(long, value_name = "NAME")]
    client_dns: Option<String>,
    /// The first URI of the sender's TLS certificate
    #[arg(long, value_name = "URI")]
    client_uri: Option<String>,
    /// The subject of the sender's TLS certificate, as RFC 2253 writes it: CN=hooks.example.com,O=Example
    #[arg(long, value_name = "SUBJECT")]
    client_subject: Option<String>,
    /// The SHA-256 of the sender's TLS certificate, in hexadecimal digits
    #[arg(long, value_name = "HEX")]
    client_sha256: Option<String>,
    /// The policy that the route names in its metadata
    #[arg(long, value_name = "POLICY")]
    route_policy: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl ExplainArguments {
    /// The sender's certificate; nothing where none is described.
    fn client_certificate(&self) -> Option<ClientCertificate> {
        let given = [&self.client_sha256, &self.client_subject, &self.client_dns, &self.client_uri];
        let is_there = given.iter().any(|one| one.is_some());
        let [sha256, subject, dns, uri] = given.map(|one| one.clone().unwrap_or_default().into_bytes());
        // As the gateway would write it.
        let sha256 = sha256.to_ascii_lowercase();
        is_there.then_some(ClientCertificate { sha256, subject, dns, uri })
    }
}

/// One step of the evaluation.
struct Step {
    name: String,
    /// How deep it stands in the requirement.
    depth: usize,
    outcome: Outcome,
}

/// How a step goes: with more to say of it, for a reason, or not at all.
enum Outcome {
    Pass(String),
    Fail(Reason),
    /// The core does not ask, and why.
    Skip(&'static str),
}

impl Outcome {
    fn of(holds: bool, reason: Reason) -> Self {
        if holds { Self::Pass(String::new()) } else { Self::Fail(reason) }
    }

    const fn holds(&self) -> bool {
        !matches!(self, Self::Fail(_))
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Fail(_) => "fail",
            Self::Skip(_) => "skip",
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::Pass(_) => "ok",
            Self::Fail(reason) => reason.code(),
            Self::Skip(_) => "-",
        }
    }
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
            Failure::new(format!(
                "--now: {text:?} is neither RFC 3339, such as 2027-01-31T00:00:00Z, nor seconds since 1970"
            ))
        })?,
        None => capture.time.unwrap_or_else(judge::now),
    };
    let client_certificate = arguments.client_certificate();
    let circumstances = Circumstances {
        source: arguments.source_ip.as_deref().or(capture.source.as_deref()),
        client_certificate: client_certificate.as_ref(),
        route_policy: arguments.route_policy.as_deref(),
        now,
    };
    if configuration.feeds.iter().any(|feed| feed.source.is_some()) {
        let note = "the lists of `feeds` are the gateway's: here only `initial` is known, and any other feed has no list";
        capture.notes.push(note.to_owned());
    }
    let decision = judge::judge(&configuration, &capture, circumstances);
    let lists = Lists::new(&configuration.feeds);
    let headers = capture.headers();
    let facts = circumstances.facts(&headers, !capture.body.is_empty());
    let governing = decision.as_ref().and_then(|decision| decision.record.policy.as_deref());
    let candidates = candidates(&configuration.policies, &facts, governing);
    let chosen = configuration.policies.iter().find(|policy| Some(policy.name.as_ref()) == governing);
    let steps = chosen.map_or(Vec::new(), |policy| {
        decision
            .as_ref()
            .map_or(Vec::new(), |decision| steps(policy, decision, &facts, &lists, &capture.body))
    });
    let is_good = decision
        .as_ref()
        .is_none_or(|decision| !matches!(decision.verdict, Verdict::Deny(_) | Verdict::Report(_)));
    let target = without_tokens(&configuration.policies, &capture.target);
    let recorded = chosen.zip(decision.as_ref()).and_then(|(policy, decision)| {
        let terms = policy.record.as_ref()?;
        Some((
            is_body_recorded(terms, decision, &capture.body),
            configuration.policies.recorded_headers(terms, &headers),
        ))
    });
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
                    "outcome": step.outcome.word(),
                    "reason": step.outcome.reason(),
                })).collect::<Vec<Value>>(),
                "verdict": verdict_json(decision.as_ref(), chosen),
                "record": recorded.as_ref().map(|(body, headers)| json!({"body": body, "headers": headers})),
            });
            Text::json(&report)
        }
        Format::Text => {
            let from = circumstances.source.map_or("nowhere known", |source| source);
            let mut text = Text::default().painted(Tone::Strong, "request ").own("  ");
            text = text.shown(format!("{request}, {} bytes, from {from}", capture.body.len())).own("\n");
            for note in &capture.notes {
                text = text.own("          ").painted(Tone::Doubt, "note:").own(" ").shown(note).own("\n");
            }
            text = text.painted(Tone::Strong, "policies").own("\n").and(&policies_table(&candidates).text());
            if !steps.is_empty() {
                text = text.painted(Tone::Strong, "checks").own("\n").and(&steps_table(&steps).text());
            }
            let verdict = verdict_text(decision.as_ref(), chosen);
            let text = text.painted(Tone::Strong, "verdict").own("   ").and(&verdict).own("\n");
            match &recorded {
                None => text,
                Some((body, headers)) => text
                    .painted(Tone::Strong, "record")
                    .own("    ")
                    .own(if *body { "the body" } else { "nothing of the body" })
                    .own("; headers ")
                    .shown(headers.as_deref().unwrap_or("none"))
                    .own("\n"),
            }
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
        Check::Source(_) | Check::Certificate(_) | Check::Signature(_) => None,
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
        Check::Token(TokenCheck { place: TokenPlace::Query(name), .. }) => Some(name.clone()),
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
            (Some(rule), Some(name))
                if name == policy.name.as_bytes() && !rule.governs(facts.path(), authority) =>
            {
                format!("the route names it, and it governs {} alone", patterns(rule))
            }
            (_, Some(name)) if name == policy.name.as_bytes() => "the route names it".to_owned(),
            (_, Some(_)) => "the route names another".to_owned(),
            (None, None) => "has no `match`: only a route can name it".to_owned(),
            (Some(rule), None) => {
                let any_host = Match { hosts: vec![HostPattern::Any], ..rule.clone() };
                let why = match () {
                    () if !any_host.governs(facts.path(), authority) => "another path: ",
                    () if !rule.governs(facts.path(), authority) => "another host: ",
                    () if !rule.admits(facts.method()) => "another method: ",
                    () if governing.is_none() => "the request is refused before a policy is chosen: ",
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

/// Every check of a policy, also those that the gateway does not come to because a cheaper one has failed. What the core
/// has decided is taken from its decision; beside it stands what each check says by itself.
fn steps(policy: &Policy, decision: &Decision, facts: &Facts<'_>, lists: &Lists, body: &[u8]) -> Vec<Step> {
    let reason = match &decision.verdict {
        Verdict::Deny(denial) => Some(denial.reason),
        Verdict::Report(reason) => Some(*reason),
        Verdict::Allow(_) | Verdict::Answer(_) | Verdict::Acknowledge(_) => None,
    };
    let is_answer = matches!(decision.verdict, Verdict::Answer(_));
    let is_handshake = is_answer || reason == Some(Reason::HandshakeRefused);
    // A handshake that the provider signs is judged like a delivery, and what it presents is on record.
    let was_asked = |step: &CheckStep| step.kind == CheckKind::Signature && step.outcome != Trail::Skip;
    let is_unsigned = is_handshake && !decision.record.trail.iter().any(was_asked);
    let mut steps = Vec::new();
    let mut step = |name: &str, outcome| steps.push(Step { name: name.to_owned(), depth: 0, outcome });
    if reason == Some(Reason::UpgradeNotAllowed) {
        step("upgrade", Outcome::Fail(Reason::UpgradeNotAllowed));
    }
    if let Some(rule) = &policy.rule {
        step(
            "method",
            match reason {
                Some(Reason::MethodNotAllowed) => Outcome::Fail(Reason::MethodNotAllowed),
                _ if rule.admits(facts.method()) => Outcome::Pass(String::new()),
                _ if is_handshake => Outcome::Skip("it is the handshake's"),
                _ => Outcome::Skip("settled before"),
            },
        );
    }
    if is_handshake {
        step("handshake", Outcome::of(is_answer, Reason::HandshakeRefused));
    }
    let ask = |holds: bool, reason| {
        if is_unsigned { Outcome::Skip("not asked of a handshake") } else { Outcome::of(holds, reason) }
    };
    if policy.content_types.is_some() {
        step("content_types", ask(policy.is_content_type_allowed(facts), Reason::ContentTypeNotAllowed));
    }
    let is_allowed = policy.is_content_encoding_allowed(facts);
    step("content_encodings", ask(is_allowed, Reason::ContentEncodingNotAllowed));
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    // The core goes by the length that is declared, where one is.
    let fits = reason != Some(Reason::BodyTooLarge) && length <= policy.max_body_bytes;
    step("max_body_bytes", ask(fits, Reason::BodyTooLarge));
    if let Some(requirement) = &policy.requirement {
        let trail = &decision.record.trail;
        let tree = Asked { policy, facts, lists, body, reason, is_unsigned, trail };
        tree.judge(requirement, 0, &mut steps);
    }
    // Whatever else the core refuses for has no check of its own in the configuration.
    let is_said = |reason: &Reason| {
        steps.iter().any(|step| matches!(step.outcome, Outcome::Fail(said) if said == *reason))
    };
    if let Some(reason) = reason.filter(|reason| !is_said(reason)) {
        let name = if reason == Reason::SignatureMismatch { "signed by a handshake" } else { "request" };
        steps.push(Step { name: name.to_owned(), depth: 0, outcome: Outcome::Fail(reason) });
    }
    steps
}

/// What the checks of a requirement are asked.
struct Asked<'a> {
    policy: &'a Policy,
    facts: &'a Facts<'a>,
    lists: &'a Lists,
    body: &'a [u8],
    /// Why the core refuses.
    reason: Option<Reason>,
    /// Whether it is a handshake that nothing signs.
    is_unsigned: bool,
    /// What the core says of each check that it came to, the path first.
    trail: &'a [CheckStep],
}

impl Asked<'_> {
    /// How a check went: as the core says where it came to it, else as the check says by itself.
    fn outcome(&self, index: usize, leaf: &PolicyCheck) -> Outcome {
        let step = index.checked_add(1).and_then(|place| self.trail.get(place));
        let by_itself = || match leaf_outcome(leaf, self.facts, self.lists, self.body) {
            Ok(more) => Outcome::Pass(more),
            Err(reason) => Outcome::Fail(reason),
        };
        match step.map(|step| (step.outcome, step.reason, &step.secret_id)) {
            Some((Trail::Pass, _, id)) => {
                Outcome::Pass(id.as_ref().map_or(String::new(), |id| format!("by the secret {id}")))
            }
            Some((Trail::Fail, Some(Reason::HostFault), _)) if has_fetched_keys(leaf) => {
                Outcome::Skip("its keys are fetched by the gateway, and not known here")
            }
            Some((Trail::Fail, Some(reason), _)) => Outcome::Fail(reason),
            _ if self.is_unsigned && matches!(leaf.check, Check::Signature(_)) => {
                Outcome::Skip("not asked of a handshake")
            }
            _ => by_itself(),
        }
    }

    fn judge(&self, requirement: &Requirement, depth: usize, steps: &mut Vec<Step>) -> bool {
        match requirement {
            Requirement::Check(index) => {
                let Some(leaf) = self.policy.leaves.get(*index) else { return false };
                let outcome = self.outcome(*index, leaf);
                let holds = outcome.holds();
                steps.push(Step { name: leaf_name(leaf), depth, outcome });
                holds
            }
            Requirement::All(members) => {
                // A single member is not worth a line of its own.
                let inner = if depth == 0 || members.len() == 1 { depth } else { depth.saturating_add(1) };
                let mut lines = Vec::new();
                let mut all = true;
                for member in members {
                    all &= self.judge(member, inner, &mut lines);
                }
                if inner != depth {
                    // Of several reasons the one that the core came to first, if it is one of these.
                    let said = || {
                        lines.iter().filter_map(|step: &Step| match step.outcome {
                            Outcome::Fail(reason) => Some(reason),
                            Outcome::Pass(_) | Outcome::Skip(_) => None,
                        })
                    };
                    let decided =
                        said().find(|reason| Some(*reason) == self.reason).or_else(|| said().next());
                    let outcome = Outcome::of(all, decided.unwrap_or(Reason::HostFault));
                    steps.push(Step { name: "all_of".to_owned(), depth, outcome });
                }
                steps.append(&mut lines);
                all
            }
            Requirement::Any(branches) => {
                let mut lines = Vec::new();
                let mut any = false;
                for branch in branches {
                    any |= self.judge(branch, depth.saturating_add(1), &mut lines);
                }
                let outcome = Outcome::of(any, Reason::NoAlternativeHeld);
                steps.push(Step { name: "any_of".to_owned(), depth, outcome });
                steps.append(&mut lines);
                any
            }
        }
    }
}

fn leaf_name(leaf: &PolicyCheck) -> String {
    let provider = leaf.provider.as_deref();
    match &leaf.check {
        Check::Source(_) => "source_ip".to_owned(),
        Check::Certificate(_) => "client_certificate".to_owned(),
        Check::Token(token) => {
            let place = match &token.place {
                TokenPlace::Query(name) => format!("in the query, {name}"),
                TokenPlace::Header(name) => format!("in {name}"),
                TokenPlace::Bearer => "Bearer".to_owned(),
                TokenPlace::Basic { .. } | TokenPlace::BasicAny => "Basic".to_owned(),
                TokenPlace::Json(path) => format!("in the body, {}", json_pointer::text(path)),
            };
            match provider {
                Some(provider) => format!("token of {provider} ({place})"),
                None => format!("token ({place})"),
            }
        }
        Check::Signature(_) => format!("signature of {}", provider.unwrap_or("a custom scheme")),
    }
}

fn has_fetched_keys(leaf: &PolicyCheck) -> bool {
    matches!(&leaf.check, Check::Signature(check) if check.fetched.is_some())
}

/// What the check says, with the id of the secret that matched.
fn leaf_outcome(leaf: &PolicyCheck, facts: &Facts<'_>, lists: &Lists, body: &[u8]) -> Result<String, Reason> {
    let id = match &leaf.check {
        Check::Source(check) => return check.judge(facts.source, lists, facts.now).map(|()| String::new()),
        Check::Certificate(check) => {
            return check.judge(facts.client_certificate).map(|()| String::new());
        }
        Check::Token(check) => check.judge_whole(facts, body)?.id.clone(),
        Check::Signature(check) => signature(check, facts, body)?,
    };
    Ok(id.map_or(String::new(), |id| format!("by the secret {id}")))
}

fn signature(
    check: &std::sync::Arc<SignatureCheck>,
    facts: &Facts<'_>,
    body: &[u8],
) -> Result<Option<std::sync::Arc<str>>, Reason> {
    let mut running = check.begin(facts, None).map_err(|refusal| refusal.reason)?;
    running.update(body);
    let body = running.needs_body().then(|| body.to_vec());
    let verified = running.finish(End { now: facts.now, body });
    verified.map(|verified| verified.secret_id).map_err(|refusal| refusal.reason)
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
        let (tone, why) = match outcome {
            Outcome::Pass(more) => (Tone::Good, more.clone()),
            Outcome::Fail(reason) => (Tone::Bad, format!("{}: {}", reason.code(), reason_text::of(*reason))),
            Outcome::Skip(why) => (Tone::Faint, (*why).to_owned()),
        };
        table.row([name.into(), Cell::new(outcome.word(), tone), why.into()]);
    }
    table
}

/// Whether the body is recorded: what is refused by its headers has none that was read.
fn is_body_recorded(terms: &RecordTerms, decision: &Decision, body: &[u8]) -> bool {
    let is_accepted =
        matches!(decision.verdict, Verdict::Allow(_) | Verdict::Answer(_) | Verdict::Acknowledge(_));
    terms.takes(is_accepted) && (decision.record.body_bytes.is_some() || body.is_empty())
}

fn verdict_json(decision: Option<&Decision>, chosen: Option<&Policy>) -> Value {
    let Some(decision) = decision else { return json!({"verdict": "leave", "reason": "-"}) };
    let record = &decision.record;
    let status = match &decision.verdict {
        Verdict::Deny(denial) => Some(denial.status),
        Verdict::Answer(reply) | Verdict::Acknowledge(reply) => Some(reply.status),
        Verdict::Allow(_) | Verdict::Report(_) => None,
    };
    json!({
        "verdict": decision.verdict.code(),
        "reason": decision.verdict.reason_code(),
        "status": status,
        "policy": record.policy.as_deref(),
        "provider": record.provider.as_deref(),
        "delivery_id": record.delivery_id.as_deref(),
        "secret_ids": record.secret_ids.iter().map(|id| id.to_string()).collect::<Vec<_>>(),
        "checks": record.checks(),
        "named_by": decision.record.delivery.as_ref().and(chosen).and_then(named_by),
    })
}

/// What names a delivery that the policy lets through once.
fn named_by(policy: &Policy) -> Option<&'static str> {
    let signatures = policy.leaves.iter().filter_map(|leaf| match &leaf.check {
        Check::Signature(check) => Some(check),
        Check::Source(_) | Check::Certificate(_) | Check::Token(_) => None,
    });
    let (check, names) = signatures.filter_map(|check| Some((check, check.names.as_ref()?))).next()?;
    Some(match (&names.field, check.scheme.signed.has(&Part::Id)) {
        (Some(_), _) => "the value in its body that `duplicates.id` names, or else all that is signed",
        (None, true) => "the id that is signed",
        (None, false) => "all that is signed",
    })
}

fn verdict_text(decision: Option<&Decision>, chosen: Option<&Policy>) -> Text {
    let text = Text::default();
    let Some(decision) = decision else {
        return text
            .own("left alone: no policy governs it, and the configuration says `\"unmatched\": \"pass\"`");
    };
    match &decision.verdict {
        Verdict::Allow(_) => {
            let text = text.painted(Tone::Good, "allow: forwarded to the upstream");
            match decision.record.delivery.as_ref().and(chosen).and_then(named_by) {
                Some(name) => text.own("; once, for what names it is ").own(name),
                None => text,
            }
        }
        Verdict::Answer(reply) | Verdict::Acknowledge(reply) => {
            text.painted(Tone::Good, format!("answer {}: a handshake, answered by the gateway", reply.status))
        }
        Verdict::Report(reason) => {
            let said =
                format!("report {}: forwarded, but only because the policy is in report mode", reason.code());
            text.painted(Tone::Doubt, said).own("; ").own(reason_text::of(*reason))
        }
        Verdict::Deny(denial) => {
            let said = format!("deny {} {}", denial.status, denial.reason.code());
            let text = text.painted(Tone::Bad, said).own(": ").own(reason_text::of(denial.reason));
            match next(denial.reason, chosen) {
                Some(next) => text.own("\n          next: ").shown(next),
                None => text,
            }
        }
    }
}

/// What to do next, where another command knows more.
fn next(reason: Reason, chosen: Option<&Policy>) -> Option<String> {
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
    let provider = provider.filter(|_| is_signature)?;
    Some(format!("webhook-guard doctor --provider {provider} --secret-env NAME --request FILE"))
}
