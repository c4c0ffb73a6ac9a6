//! `try`: one good delivery and a set of bad ones for every policy, sent to a running gateway.
//!
//! Responsible for what is sent, and for the table. What should become of each is said by the core, from the same
//! configuration; what did, by the answer.

use crate::delivery::outcome::{self, Expected};
use crate::delivery::sender::{EVENT, Sender};
use crate::delivery::signer::{self, Hand, Signer};
use crate::delivery::transport::{Gateway, Response};
use crate::input::capture::Capture;
use crate::input::config_files::ConfigurationArguments;
use crate::judge::{self, Circumstances};
use crate::output::terminal::{Answer, Cell, Failure, Format, Table, Text, Tone};
use clap::Args;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use webhook_guard_core::config::Configuration;
use webhook_guard_core::decision::Reason;
use webhook_guard_core::feed::Lists;
use webhook_guard_core::matcher::{HostPattern, Match, PathPattern};
use webhook_guard_core::memory::Then;
use webhook_guard_core::policy::requirement::Requirement;
use webhook_guard_core::policy::{Check, Mode, Policy, PolicyCheck};
use webhook_guard_core::request::Millis;

/// How far a time lies beyond what is admitted, in seconds.
const BEYOND: u32 = 60;

/// A limit above this is not tried: nobody wants a smoke test to send gigabytes.
const LARGEST: u64 = 8 << 20;

/// Other addresses of this machine, for a gateway that runs on it and is reached by IPv4.
const OTHER_ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), IpAddr::V4(Ipv4Addr::new(127, 250, 250, 250))];

#[derive(Debug, Args)]
pub(crate) struct SmokeTestArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,
    /// Where the gateway listens: scheme, host and port. Paths and hosts are those of the policies
    #[arg(long, value_name = "URL")]
    url: String,
    /// Only this policy; more than once for several
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// The address that the gateway sees; by default the one that this machine connects from
    #[arg(long, value_name = "IP")]
    source_ip: Option<IpAddr>,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What is wrong with a delivery. Numbers are leaves of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Body(usize),
    Without(usize),
    Stranger(usize),
    Twice(usize),
    Late(usize, u32),
    Early(usize, u32),
    Elsewhere(IpAddr),
    Method,
    TooLarge,
    Again,
    Beside,
    Disguise,
}

/// One line of the table.
struct Row {
    policy: String,
    delivery: String,
    result: Outcome,
}

enum Outcome {
    Tried(Expected, Result<Response, String>),
    NotTried(String),
}

impl Outcome {
    fn is_as_expected(&self) -> bool {
        matches!(self, Self::Tried(expected, Ok(response)) if expected.is_met(response))
    }

    const fn is_tried(&self) -> bool {
        matches!(self, Self::Tried(..))
    }
}

/// A running gateway, with what it is believed to run.
struct Bench<'b> {
    gateway: &'b Gateway,
    configuration: &'b Configuration,
    texts: &'b [String],
    /// The address that the gateway sees.
    source: IpAddr,
    can_move: bool,
    /// When the trial began, which no other one does.
    began: Millis,
    /// The id of its deliveries.
    delivery_id: String,
    rows: Vec<Row>,
}

pub(crate) fn run(arguments: &SmokeTestArguments) -> Result<Answer, Failure> {
    let (configuration, texts) = arguments.configuration.read_with_texts()?;
    let policies = &configuration.policies;
    let names: Vec<&str> = policies.iter().map(|policy| policy.name.as_ref()).collect();
    if let Some(unknown) = arguments.policy.iter().find(|name| !names.contains(&name.as_str())) {
        let list = names.join(", ");
        return Err(Failure::new(format!("--policy: {unknown:?} is none of the configuration's: {list}")));
    }
    let mut url = Capture::default();
    url.set_url(&arguments.url);
    if url.scheme.is_none() || url.target != "/" {
        let form = "is not scheme, host and port alone, such as https://hooks.example.com";
        return Err(Failure::new(format!("--url: {:?} {form}; the paths are the policies'", arguments.url)));
    }
    let gateway = Gateway::reach(&url, Duration::from_secs(arguments.timeout))?;
    let began = judge::now();
    let mut bench = Bench {
        gateway: &gateway,
        configuration: &configuration,
        texts: &texts,
        source: arguments.source_ip.unwrap_or(gateway.source),
        can_move: gateway.is_reached_from_all_of_loopback() && arguments.source_ip.is_none(),
        began,
        delivery_id: format!("webhook-guard-try-{}", began.0),
        rows: Vec::new(),
    };
    let is_asked = |name: &str| arguments.policy.is_empty() || arguments.policy.iter().any(|one| one == name);
    for policy in policies.iter().filter(|policy| is_asked(&policy.name)) {
        bench.policy(policy);
    }
    bench.strangers(policies.iter().filter(|policy| is_asked(&policy.name)));
    Ok(answer(&bench.rows, &gateway, arguments.format))
}

/// What a policy is tried with.
struct Plan<'p> {
    policy: &'p Policy,
    /// The checks that a good delivery meets.
    leaves: Vec<usize>,
    /// Why there can be no good delivery.
    obstacle: Option<String>,
    host: String,
    path: String,
    method: String,
}

impl Plan<'_> {
    fn leaf(&self, index: usize) -> Option<&PolicyCheck> {
        self.policy.leaves.get(index)
    }

    /// Every way in which a delivery for this policy can be wrong.
    fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for index in self.leaves.iter().copied() {
            match self.leaf(index).map(|leaf| &leaf.check) {
                Some(Check::Signature(check)) => {
                    flaws.extend([Flaw::Body(index), Flaw::Without(index)]);
                    flaws.extend([Flaw::Stranger(index), Flaw::Twice(index)]);
                    if let Some((tolerance, future)) = check.scheme.age_bounds() {
                        let late = tolerance.saturating_add(BEYOND);
                        let early = future.saturating_add(BEYOND);
                        flaws.extend([Flaw::Late(index, late), Flaw::Early(index, early)]);
                    }
                }
                Some(Check::Token(_)) => {
                    flaws.extend([Flaw::Without(index), Flaw::Stranger(index), Flaw::Twice(index)]);
                }
                Some(Check::Source(_)) => flaws.extend(OTHER_ADDRESSES.map(Flaw::Elsewhere)),
                // It cannot be made here, neither a good one nor a bad one.
                Some(Check::Certificate(_)) | None => {}
            }
        }
        flaws.push(Flaw::Method);
        if self.policy.max_body_bytes <= LARGEST {
            flaws.push(Flaw::TooLarge);
        }
        flaws
    }

    /// What a row calls the delivery.
    fn label(&self, flaw: Flaw) -> String {
        let is_token = |index| matches!(self.leaf(index).map(|leaf| &leaf.check), Some(Check::Token(_)));
        let (text, leaf) = match flaw {
            Flaw::None => ("good".to_owned(), None),
            Flaw::Body(index) => ("body tampered with".to_owned(), Some(index)),
            Flaw::Without(index) if is_token(index) => ("no token".to_owned(), Some(index)),
            Flaw::Without(index) => ("not signed".to_owned(), Some(index)),
            Flaw::Stranger(index) if is_token(index) => ("wrong token".to_owned(), Some(index)),
            Flaw::Stranger(index) => ("signed with another key".to_owned(), Some(index)),
            Flaw::Twice(index) if is_token(index) => ("token twice".to_owned(), Some(index)),
            Flaw::Twice(index) => ("signature twice".to_owned(), Some(index)),
            Flaw::Late(index, seconds) => (format!("replayed after {}", duration(seconds)), Some(index)),
            Flaw::Early(index, seconds) => (format!("signed {} ahead", duration(seconds)), Some(index)),
            Flaw::Elsewhere(_) => ("from another address".to_owned(), None),
            Flaw::Method => (format!("{} instead of {}", self.wrong_method(), self.method), None),
            Flaw::TooLarge => (format!("one byte over {}", size(self.policy.max_body_bytes)), None),
            Flaw::Again => ("the same once more".to_owned(), None),
            Flaw::Beside => ("a path that no policy governs".to_owned(), None),
            Flaw::Disguise => ("a path in disguise".to_owned(), None),
        };
        // Only where there are several of a kind does it matter which one is meant.
        let kin = leaf.filter(|one| {
            self.leaves
                .iter()
                .filter(|other| is_token(**other) == is_token(*one) && !self.is_of_connection(**other))
                .count()
                > 1
        });
        match kin.and_then(|index| self.leaf(index)?.provider.clone()) {
            Some(provider) => format!("{text} ({provider})"),
            None => text,
        }
    }

    fn is_of_connection(&self, index: usize) -> bool {
        let check = self.leaf(index).map(|leaf| &leaf.check);
        matches!(check, Some(Check::Source(_) | Check::Certificate(_)))
    }

    fn wrong_method(&self) -> &'static str {
        let is_admitted =
            |method: &str| self.policy.rule.as_ref().is_none_or(|rule| rule.admits(method.as_bytes()));
        ["GET", "POST", "PUT", "DELETE", "PATCH"]
            .into_iter()
            .find(|method| !is_admitted(method))
            .unwrap_or("TRACE")
    }
}

impl Bench<'_> {
    /// Tries one policy.
    fn policy(&mut self, policy: &Policy) {
        let plan = match self.plan(policy) {
            Ok(plan) => plan,
            Err(reason) => return self.push(&policy.name, "all".to_owned(), Outcome::NotTried(reason)),
        };
        match &plan.obstacle {
            None => self.send(&plan, &policy.name, Flaw::None),
            Some(reason) => {
                self.push(&policy.name, plan.label(Flaw::None), Outcome::NotTried(reason.clone()));
            }
        }
        let mut is_moved = false;
        for flaw in plan.flaws() {
            let is_move = matches!(flaw, Flaw::Elsewhere(_));
            if is_move && (is_moved || !self.can_move) {
                continue;
            }
            let count = self.rows.len();
            self.send(&plan, &policy.name, flaw);
            is_moved |= is_move && self.rows.len() > count;
        }
    }

    /// What no policy governs, tried once beside the first one.
    fn strangers<'p>(&mut self, mut policies: impl Iterator<Item = &'p Policy>) {
        if let Some(plan) = policies.find_map(|policy| self.plan(policy).ok()) {
            self.send(&plan, "-", Flaw::Beside);
            self.send(&plan, "-", Flaw::Disguise);
        }
    }

    fn push(&mut self, policy: &str, delivery: String, result: Outcome) {
        self.rows.push(Row { policy: policy.to_owned(), delivery, result });
    }

    /// How the policy can be met from here.
    fn plan<'p>(&self, policy: &'p Policy) -> Result<Plan<'p>, String> {
        let rule = policy.rule.as_ref();
        let rule = rule.ok_or("it has no `match`: only a route can name it, and routes are not in here")?;
        let forge = self.forge(judge::now(), 0);
        let (leaves, obstacle) = match &policy.requirement {
            Some(requirement) => self.choose(&forge, policy, requirement),
            None => (Vec::new(), None),
        };
        let method =
            rule.methods.iter().find(|method| method.as_ref() == "POST").or_else(|| rule.methods.first());
        let method = method.map_or_else(String::new, |method| method.to_string());
        let mut plan = Plan { policy, leaves, obstacle, host: String::new(), path: String::new(), method };
        let mut reason = "other policies govern what it matches".to_owned();
        for (host, path) in self.resources(policy, rule) {
            (plan.host, plan.path) = (host, path);
            let capture = match self.make(&plan, Flaw::None) {
                Ok(capture) => capture,
                Err(error) => {
                    reason = error;
                    continue;
                }
            };
            if self.judge(&capture, self.source, judge::now()).1.as_deref() == Some(policy.name.as_ref()) {
                return Ok(plan);
            }
        }
        Err(reason)
    }

    /// The checks to meet, and why they cannot be met. Of an `any_of` the first branch that can be.
    fn choose(
        &self,
        forge: &Signer<'_>,
        policy: &Policy,
        requirement: &Requirement,
    ) -> (Vec<usize>, Option<String>) {
        match requirement {
            Requirement::Check(index) => {
                let leaf = policy.leaves.get(*index);
                (vec![*index], leaf.and_then(|leaf| self.obstacle(forge, leaf)))
            }
            Requirement::All(members) => {
                let chosen = members.iter().map(|member| self.choose(forge, policy, member));
                chosen.fold((Vec::new(), None), |(mut all, first), (leaves, obstacle)| {
                    all.extend(leaves);
                    (all, first.or(obstacle))
                })
            }
            Requirement::Any(branches) => {
                let mut chosen: Vec<_> =
                    branches.iter().map(|branch| self.choose(forge, policy, branch)).collect();
                chosen.sort_by_key(|(_, obstacle)| obstacle.is_some());
                chosen.into_iter().next().unwrap_or_default()
            }
        }
    }

    fn obstacle(&self, forge: &Signer<'_>, leaf: &PolicyCheck) -> Option<String> {
        match &leaf.check {
            Check::Source(check) => {
                let source = self.source.to_string();
                let remedy = "try from an address that is, or name what the gateway sees with --source-ip";
                let lists = Lists::new(&self.configuration.feeds);
                let is_admitted = check.judge(Some(source.as_bytes()), &lists, judge::now()).is_ok();
                (!is_admitted).then(|| format!("{source} is not admitted; {remedy}"))
            }
            Check::Certificate(_) | Check::Token(_) | Check::Signature(_) => forge.obstacle(leaf),
        }
    }

    /// Hosts and paths that the policy may govern: first the path of a URL that was entered at the sender, for it may be the
    /// only one that can be signed.
    fn resources(&self, policy: &Policy, rule: &Match) -> Vec<(String, String)> {
        let public_urls = policy.leaves.iter().filter_map(|leaf| match &leaf.check {
            Check::Signature(check) => check.public_url.as_ref(),
            Check::Source(_) | Check::Certificate(_) | Check::Token(_) => None,
        });
        let entered = public_urls.flat_map(|url| url.paths(|path| rule.governs_path(path)));
        let entered: Vec<String> = entered.map(str::to_owned).collect();
        let host = |pattern: &HostPattern| match pattern {
            HostPattern::Any => self.gateway.authority.clone(),
            HostPattern::Suffix(_, suffix) => format!("webhook-guard-try{suffix}"),
            HostPattern::Exact(host) => host.to_string(),
        };
        let paths = |pattern: &PathPattern| match pattern {
            PathPattern::Exact(path) => vec![path.to_string()],
            PathPattern::Prefix(path) => {
                vec![path.to_string(), format!("{}/webhook-guard-try", path.trim_end_matches('/'))]
            }
        };
        let hosts: Vec<String> = rule.hosts.iter().map(host).collect();
        let paths = entered.into_iter().chain(rule.paths.iter().flat_map(paths));
        paths.flat_map(|path| hosts.iter().map(move |host| (host.clone(), path.clone()))).collect()
    }

    fn forge(&self, now: Millis, offset_seconds: i64) -> Signer<'_> {
        let at = Millis(now.0.saturating_add(offset_seconds.saturating_mul(1000)));
        Signer { at, now, delivery_id: &self.delivery_id, texts: self.texts }
    }

    /// Makes a delivery with one flaw.
    fn make(&self, plan: &Plan<'_>, flaw: Flaw) -> Result<Capture, String> {
        let limit = usize::try_from(plan.policy.max_body_bytes).unwrap_or(usize::MAX);
        match flaw {
            Flaw::TooLarge => {
                let wanted = limit.saturating_add(1);
                let first = self.fill(plan, flaw, wanted)?;
                // A time that is written into the body makes it longer.
                let excess = first.body.len().saturating_sub(wanted);
                if excess == 0 { Ok(first) } else { self.fill(plan, flaw, wanted.saturating_sub(excess)) }
            }
            _ => self.fill(plan, flaw, 0),
        }
    }

    fn fill(&self, plan: &Plan<'_>, flaw: Flaw, size: usize) -> Result<Capture, String> {
        let provider = plan.leaves.iter().find_map(|index| plan.leaf(*index)?.provider.clone());
        let mut sender = Sender::of(provider.as_deref());
        if let Some(first) = plan.policy.content_types.as_ref().and_then(|types| types.first()) {
            sender.content_type = first.to_string();
        }
        let mut body = sender.body(size, self.began.0);
        let limit = plan.policy.max_body_bytes;
        if flaw == Flaw::TooLarge {
            body.truncate(size);
        } else if u64::try_from(body.len()).is_ok_and(|length| length > limit) {
            body.clear();
        }
        let mut capture = Capture {
            method: plan.method.clone(),
            authority: plan.host.clone(),
            target: plan.path.clone(),
            body,
            ..Capture::default()
        };
        capture.push("user-agent", concat!("webhook-guard-try/", env!("CARGO_PKG_VERSION")).as_bytes());
        capture.push("content-type", sender.content_type.as_bytes());
        if let Some(name) = &sender.event_header {
            capture.push(name, EVENT.as_bytes());
        }
        match flaw {
            Flaw::Beside => capture.target = format!("{}-beside", plan.path.trim_end_matches('/')),
            Flaw::Disguise => capture.target = format!("{}/..%2f..%2fadmin", plan.path.trim_end_matches('/')),
            _ => {}
        }
        self.meet(plan, flaw, &mut capture)?;
        match flaw {
            Flaw::Body(_) => signer::change_one_byte(&mut capture.body),
            Flaw::Method => {
                capture.method = plan.wrong_method().to_owned();
                capture.body.clear();
            }
            Flaw::Twice(index) => {
                let place = plan.leaf(index).and_then(|leaf| signer::presents(&leaf.check));
                if !place.is_some_and(|place| signer::double(&mut capture, &place)) {
                    return Err("it sits where it cannot be doubled".to_owned());
                }
            }
            _ => {}
        }
        Ok(capture)
    }

    /// Meets every check that can be met, tokens before signatures; but for the flaw.
    fn meet(&self, plan: &Plan<'_>, flaw: Flaw, capture: &mut Capture) -> Result<(), String> {
        let now = judge::now();
        let is_signature =
            |index: &usize| matches!(plan.leaf(*index).map(|leaf| &leaf.check), Some(Check::Signature(_)));
        let (signatures, others): (Vec<usize>, Vec<usize>) =
            plan.leaves.iter().partition(|index| is_signature(index));
        for index in others.into_iter().chain(signatures) {
            let Some(leaf) = plan.leaf(index) else { continue };
            let offset = match flaw {
                Flaw::Late(one, seconds) if one == index => i64::from(seconds).saturating_neg(),
                Flaw::Early(one, seconds) if one == index => i64::from(seconds),
                _ => 0,
            };
            let forge = self.forge(now, offset);
            let hand = if flaw == Flaw::Stranger(index) { Hand::Stranger } else { Hand::Own };
            let is_left_out =
                flaw == Flaw::Without(index) || (hand == Hand::Own && forge.obstacle(leaf).is_some());
            if !is_left_out {
                forge.fill(capture, leaf, hand)?;
            }
        }
        Ok(())
    }

    /// What the core says, and the policy that governs.
    fn judge(&self, capture: &Capture, source: IpAddr, now: Millis) -> (Expected, Option<String>) {
        let source = source.to_string();
        let circumstances =
            Circumstances { source: Some(&source), client_certificate: None, route_policy: None, now };
        let decision = judge::judge(self.configuration, capture, circumstances);
        let policy =
            decision.as_ref().and_then(|decision| decision.record.policy.as_deref().map(str::to_owned));
        (Expected::from(decision.as_ref()), policy)
    }

    /// Sends a delivery that has been accepted once more, where the policy lets each through once.
    fn again(&mut self, plan: &Plan<'_>, policy: &str, capture: &Capture) {
        let Some(terms) = plan.policy.duplicates.as_ref().map(|duplicates| duplicates.terms) else { return };
        let expected = match (plan.policy.mode, terms.then) {
            (Mode::Report, _) => Expected::Reported(Reason::DuplicateDelivery),
            (Mode::Enforce, Then::Acknowledge) => Expected::Answered(200),
            (Mode::Enforce, Then::Refuse) => {
                let status = plan.policy.deny_status.get(&Reason::DuplicateDelivery);
                let status = status.copied().unwrap_or(Reason::DuplicateDelivery.status());
                Expected::Refused(status, Reason::DuplicateDelivery)
            }
        };
        // The gateway notes that the first is done when its response is over.
        std::thread::sleep(Duration::from_millis(200));
        let got = self.gateway.send(capture, None);
        self.push(policy, plan.label(Flaw::Again), Outcome::Tried(expected, got));
    }

    /// Makes a delivery, has it judged and sends it. A flaw that the policy does not mind is none.
    fn send(&mut self, plan: &Plan<'_>, policy: &str, flaw: Flaw) {
        // What cannot be made has no flaw of that kind.
        let Ok(capture) = self.make(plan, flaw) else { return };
        let moved = match flaw {
            Flaw::Elsewhere(address) => Some(address),
            _ => None,
        };
        let (expected, _) = self.judge(&capture, moved.unwrap_or(self.source), judge::now());
        let is_meant = match (flaw, expected) {
            (Flaw::None, _) => expected.is_forwarded(),
            (Flaw::Elsewhere(_), Expected::Refused(_, reason) | Expected::Reported(reason)) => {
                reason == Reason::SourceIpNotAllowed
            }
            (_, Expected::Refused(..) | Expected::Reported(_)) => true,
            (_, Expected::Forwarded | Expected::Answered(_)) => false,
        };
        let label = plan.label(flaw);
        match (is_meant, flaw) {
            (true, _) => {
                let got = self.gateway.send(&capture, moved);
                let is_delivered = got.as_ref().is_ok_and(|response| response.status < 400);
                self.push(policy, label, Outcome::Tried(expected, got));
                if flaw == Flaw::None && is_delivered {
                    self.again(plan, policy, &capture);
                }
            }
            (false, Flaw::None) => {
                let reason = format!("what was made would be {expected}");
                self.push(policy, label, Outcome::NotTried(reason));
            }
            (false, _) => {}
        }
    }
}

fn duration(seconds: u32) -> String {
    let (count, unit) = match (seconds % 60, seconds.div_euclid(60)) {
        (0, minutes) => (minutes, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn size(bytes: u64) -> String {
    match (bytes.checked_rem(1 << 20), bytes.checked_div(1 << 20)) {
        (Some(0), Some(mebibytes)) if mebibytes > 0 => format!("{mebibytes} MiB"),
        _ => format!("{bytes} bytes"),
    }
}

fn answer(rows: &[Row], gateway: &Gateway, format: Format) -> Answer {
    let count = |holds: fn(&Row) -> bool| rows.iter().filter(|row| holds(row)).count();
    let tried = count(|row| row.result.is_tried());
    let right = count(|row| row.result.is_as_expected());
    let wrong = tried.saturating_sub(right);
    let not_tried = rows.len().saturating_sub(tried);
    let forwarded =
        count(|row| matches!(&row.result, Outcome::Tried(expected, _) if expected.is_forwarded()));
    let is_good = wrong == 0 && tried > 0;
    let text = match format {
        Format::Json => {
            let rows: Vec<Value> = rows.iter().map(document).collect();
            let counts =
                json!({"tried": tried, "as_expected": right, "wrong": wrong, "not_tried": not_tried});
            Text::json(&json!({"url": gateway.to_string(), "rows": rows, "counts": counts}))
        }
        Format::Text => {
            let skipped = if not_tried == 0 { String::new() } else { format!(", {not_tried} not tried") };
            let summary = format!(
                "{tried} deliveries: {right} as expected, {wrong} wrong{skipped}; {forwarded} should be forwarded."
            );
            let tone = if is_good { Tone::Good } else { Tone::Bad };
            table(rows).text().own("\n").painted(tone, summary).own("\n")
        }
    };
    Answer { text, is_good }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::with_head(&["policy", "delivery", "expected", "got", ""]);
    for row in rows {
        let (expected, got, result) = match &row.result {
            Outcome::NotTried(reason) => {
                (String::new(), String::new(), Cell::new(format!("not tried: {reason}"), Tone::Doubt))
            }
            Outcome::Tried(expected, got) => {
                let got = got.as_ref().map_or_else(|what| format!("no answer: {what}"), outcome::got);
                let result = match row.result.is_as_expected() {
                    true => Cell::new("as expected", Tone::Good),
                    false => Cell::new("WRONG", Tone::Bad),
                };
                (expected.to_string(), got, result)
            }
        };
        table.row([
            row.policy.clone().into(),
            row.delivery.clone().into(),
            expected.into(),
            got.into(),
            result,
        ]);
    }
    table
}

fn document(row: &Row) -> Value {
    let mut document = json!({ "policy": row.policy, "delivery": row.delivery });
    let rest = match &row.result {
        Outcome::NotTried(reason) => json!({ "result": "not_tried", "reason": reason }),
        Outcome::Tried(expected, got) => {
            let result = if row.result.is_as_expected() { "as_expected" } else { "wrong" };
            let got = match got {
                Ok(response) => json!({"status": response.status, "refused": response.refusal().is_some()}),
                Err(what) => json!({ "error": what }),
            };
            json!({"result": result, "expected": expected.to_string(), "got": got})
        }
    };
    if let (Some(members), Value::Object(more)) = (document.as_object_mut(), rest) {
        members.extend(more);
    }
    document
}
