//! `doctor`: why the signature of a captured delivery does not match.
//!
//! Responsible for the order in which near misses are tried, for when to stop, and for what is said in the end. No
//! secret is printed, no variant of one, and no signature that would have been right: that would be a way to have
//! anything signed.

mod body;
mod content;
mod delivery;
mod finding;
mod json;
mod layout;
mod miss;
mod place;
mod report;
mod secret;
mod signature;
mod time;
mod url;

use crate::catalogue;
use crate::input::capture::{self, Capture, CaptureArguments, read_file};
use crate::input::env_file::{Secret, SecretArguments};
use crate::judge;
use crate::output::terminal::{Answer, Failure, Format};
use clap::Args;
use delivery::{Delivery, judge_signature};
use finding::Finding;
use layout::Layout;
use miss::{Candidates, Miss};
use secret::{Guess, guesses};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use webhook_guard_core::catalogue::Way;
use webhook_guard_core::config::{self, ConfigError};
use webhook_guard_core::decision::Reason;
use webhook_guard_core::feed::Lists;
use webhook_guard_core::policy::{Check, PolicyCheck};

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    scheme: SchemeArguments,
    #[command(flatten)]
    secrets: SecretArguments,
    #[command(flatten)]
    capture: CaptureArguments,
    /// The base of the URL as it is entered at the sender, for schemes that sign it
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The gateway's clock: RFC 3339 or seconds since 1970. By default the time of the capture, where its form tells,
    /// or else the time now
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How the gateway verifies.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SchemeArguments {
    /// The provider in the gateway's configuration
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The `scheme` in the gateway's configuration, as a file of JSON
    #[arg(long, value_name = "FILE")]
    scheme: Option<PathBuf>,
}

/// What came of it.
enum Outcome {
    /// The gateway would take the delivery.
    Holds,
    /// It would with these changes: one, or two that go together.
    Near(Vec<Miss>),
    /// Nothing fits.
    Nothing,
}

/// All that is said.
struct Diagnosis {
    outcome: Outcome,
    /// What the core said, in its own word and in ours.
    reason: Option<(&'static str, String)>,
    findings: Vec<Finding>,
    /// How many near misses of each kind were tried.
    tried: Vec<(&'static str, usize)>,
    /// How many were left out because the body is large.
    left_out: usize,
    /// The rows that say what was judged.
    subject: Vec<(&'static str, String)>,
}

pub(crate) fn run(arguments: &DoctorArguments) -> Result<Answer, Failure> {
    let layouts = Layout::all(catalogue::all()?);
    let (layout, source) = arguments.scheme.read(&layouts)?;
    let secrets = arguments.secrets.read()?;
    let mut captured = arguments.capture.read_as_it_is()?;
    let place = match &layout.way {
        Way::Token(place) => place.header(),
        Way::Signed(..) => None,
    };
    // Only what the operator names as a secret: nothing is read for the capture's sake.
    captured.fill_in(|header, keep| {
        let named = secrets.iter().find(|secret| secret.keep.is(keep));
        let named = named.filter(|_| place.is_some_and(|place| place.eq_ignore_ascii_case(header)));
        Ok(named.map(|secret| secret.trimmed().to_owned()))
    })?;
    let given = match &arguments.now {
        Some(text) => Some(capture::time(text).ok_or_else(|| {
            Failure::new(format!(
                "--now: {text:?} is neither RFC 3339, such as 2027-01-31T00:00:00Z, nor seconds since 1970"
            ))
        })?),
        None => None,
    };
    let (now, clock) = time::clock(given, captured.time, judge::now());
    let mut findings: Vec<Finding> =
        captured.notes.iter().map(|note| Finding::new("capture", note.as_str())).collect();
    let body = std::mem::take(&mut captured.body);
    let behind = std::mem::take(&mut captured.behind);
    let mut delivery = Delivery {
        layout: layout.clone(),
        way: layout.way.clone(),
        public_url: None,
        request: Arc::new(captured),
        body: Arc::new(body),
        now,
    };
    let base = base(arguments, &delivery, &mut findings);
    let target = delivery.request.target.clone();
    delivery.public_url = base.as_deref().map(|base| {
        let base = base.strip_suffix(target.as_str()).unwrap_or(base);
        Arc::from(base.trim_end_matches('/'))
    });
    let Some(first) = secrets.first() else { return Err(Failure::new("there is no secret".to_owned())) };
    let whole = base.as_deref().map(|base| delivery.request.whole_url(base));
    let configured = configured(&source, first, whole.as_deref())?;
    let handshakes = configured.as_ref().map_or(&[][..], |leaf| leaf.handshakes.as_slice());
    findings.extend(finding::all(&delivery, &behind, handshakes));
    let judged = configured.as_ref().map_err(Clone::clone).map(|leaf| judge_leaf(leaf, &delivery));
    let mut search = Search { secrets: &secrets, layouts: &layouts, behind: &behind, ..Search::default() };
    let (outcome, reason) = match judged {
        Ok(Ok(())) => (Outcome::Holds, None),
        Ok(Err(reason)) => {
            let words = crate::output::reason_text::of(reason).to_owned();
            (search.run(&delivery, clock, None, &mut findings), Some((reason.code(), words)))
        }
        Err(error) => {
            let words = format!("the gateway refuses its configuration: {}", error.wrong);
            let refused = Miss::new(
                "secret-refused",
                format!(
                    "The signature holds, and the gateway refuses the secret of {}: {}.",
                    first.origin, error.wrong
                ),
                "take another secret",
                "configure the secret that the sender has",
            );
            findings.push(Finding::new("secret-refused", words.clone()));
            (search.run(&delivery, clock, Some(refused), &mut findings), Some(("configuration", words)))
        }
    };
    let subject = subject(&delivery, &source, &secrets);
    let Search { tried, left_out, .. } = search;
    let diagnosis = Diagnosis { outcome, reason, findings, tried, left_out, subject };
    let is_good = matches!(diagnosis.outcome, Outcome::Holds);
    let text = match arguments.format {
        Format::Text => report::text(&diagnosis),
        Format::Json => report::json(&diagnosis),
    };
    Ok(Answer { text, is_good })
}

impl SchemeArguments {
    /// The layout, and how a configuration names it.
    fn read(&self, layouts: &[Arc<Layout>]) -> Result<(Arc<Layout>, Value), Failure> {
        if let Some(path) = &self.scheme {
            let scheme: Value = serde_json::from_slice(&read_file(path)?)
                .map_err(|error| Failure::at(path, format!("is not JSON: {error}")))?;
            let layout = Layout::of_scheme(&scheme).map_err(|what| Failure::at(path, what))?;
            return Ok((layout, json!({ "scheme": scheme })));
        }
        let name = self.provider.as_deref().unwrap_or_default();
        let known =
            catalogue::get(name).map_err(|failure| Failure::new(format!("--provider: {}", failure)))?;
        let layout = Layout::of_provider(layouts, known.name);
        let layout = layout.ok_or_else(|| Failure::new(format!("--provider: {name:?} has no scheme")))?;
        Ok((layout, json!({ "provider": name })))
    }
}

/// The base of the URL: as it is given, or as the request suggests where the scheme needs one.
fn base(arguments: &DoctorArguments, delivery: &Delivery, findings: &mut Vec<Finding>) -> Option<String> {
    if arguments.public_url.is_some() || !delivery.scheme().is_some_and(url::signs_base) {
        return arguments.public_url.clone();
    }
    let guess = url::guess(&delivery.request);
    let text = format!(
        "the scheme signs the URL, and no --public-url is given: {guess} is assumed, as the request says"
    );
    findings.push(Finding::new("public-url-assumed", text));
    Some(guess)
}

/// The check as the gateway would make it of its configuration; the core's complaint where it refuses the secret.
fn configured(
    source: &Value,
    secret: &Secret,
    public_url: Option<&str>,
) -> Result<Result<PolicyCheck, ConfigError>, Failure> {
    let mut signature = source.clone();
    if let Some(members) = signature.as_object_mut() {
        members.insert("secrets".to_owned(), json!([{ "env": "SECRET" }]));
        if let Some(public_url) = public_url {
            members.insert("public_url".to_owned(), json!(public_url));
        }
    }
    let policy = json!({
        "name": "doctor",
        "match": { "path": { "prefix": "/" } },
        "require": { "signature": signature },
    });
    let text = json!({ "policies": [policy] }).to_string();
    match config::parse(text.as_bytes(), &|_| Some(secret.text.clone())) {
        Ok(configuration) => {
            let leaf = configuration.policies.iter().flat_map(|policy| &policy.leaves).next().cloned();
            leaf.map(Ok).ok_or_else(|| Failure::new("there is nothing to check".to_owned()))
        }
        Err(error) if error.at.contains(".secrets") => Ok(Err(error)),
        Err(error) if error.at.ends_with(".public_url") => {
            Err(Failure::new(format!("--public-url: {}", error.wrong)))
        }
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

fn judge_leaf(leaf: &PolicyCheck, delivery: &Delivery) -> Result<(), Reason> {
    match &leaf.check {
        Check::Signature(check) => judge_signature(check, delivery, delivery.now).map(drop),
        Check::Token(check) => {
            delivery.with_facts(delivery.now, |facts| check.judge_whole(facts, &delivery.body)).map(drop)
        }
        Check::Source(check) => check.judge(None, &Lists::default(), delivery.now),
        Check::Certificate(check) => check.judge(None),
    }
}

fn subject(delivery: &Delivery, source: &Value, secrets: &[Secret]) -> Vec<(&'static str, String)> {
    let Capture { method, target, .. } = &*delivery.request;
    let path = target.split('?').next().unwrap_or_default();
    let name = source.get("provider").and_then(Value::as_str).unwrap_or("the scheme");
    let origins: Vec<&str> = secrets.iter().map(|secret| secret.origin.as_str()).collect();
    vec![
        ("scheme", format!("{name}: {}", delivery.layout.summary)),
        ("request", format!("{method} {path}, {} bytes of body", delivery.body.len())),
        ("secret", origins.join(", ")),
    ]
}

/// The search for what fits.
#[derive(Default)]
struct Search<'s> {
    secrets: &'s [Secret],
    layouts: &'s [Arc<Layout>],
    behind: &'s [u8],
    tried: Vec<(&'static str, usize)>,
    left_out: usize,
    /// How many bytes may still be hashed in this round.
    budget: usize,
}

/// How many bytes a round may hash: what a command may take time for. Rounds are the secrets, all else, and pairs.
const ROUNDS: [usize; 3] = [512 << 20, 384 << 20, 256 << 20];

/// What one attempt costs beside the body.
const ATTEMPT: usize = 1024;

impl Search<'_> {
    /// Tries everything, the simplest first.
    fn run(
        &mut self,
        delivery: &Delivery,
        clock: time::Clock,
        refused: Option<Miss>,
        findings: &mut Vec<Finding>,
    ) -> Outcome {
        let found = self.find(delivery, clock, refused);
        let Some((fitting, misses)) = found else { return Outcome::Nothing };
        // A second trouble that the first one hid.
        if let Some(late) =
            time::trouble(&fitting, clock).filter(|late| misses.iter().all(|miss| miss.code != late.code))
        {
            let text = late.cause.replacen("The signature holds, and its", "With that its", 1);
            findings.push(Finding::new(late.code, text));
        }
        Outcome::Near(misses)
    }

    fn find(
        &mut self,
        delivery: &Delivery,
        clock: time::Clock,
        refused: Option<Miss>,
    ) -> Option<(Delivery, Vec<Miss>)> {
        let [secrets, singles, pairs] = ROUNDS;
        self.budget = secrets;
        let own = guesses(&delivery.layout, self.secrets);
        for guess in &own {
            let index = self.attempt("secret", delivery, std::slice::from_ref(guess));
            if index.is_some() {
                let trouble = || time::trouble(delivery, clock);
                let miss = guess.miss.clone().or(refused).or_else(trouble)?;
                return Some((delivery.clone(), vec![miss]));
            }
        }
        self.budget = singles;
        self.others(delivery, false).or_else(|| {
            self.budget = pairs;
            self.others(delivery, true)
        })
    }

    /// Tries all but the secret, with the gateway's secret or with every near miss of it.
    fn others(&mut self, delivery: &Delivery, with_other_secrets: bool) -> Option<(Delivery, Vec<Miss>)> {
        let (behind, layouts) = (self.behind, self.layouts);
        let kinds: [(&'static str, Candidates<'_>); 8] = [
            ("time", time::candidates(delivery)),
            ("signature", signature::candidates(delivery)),
            ("provider", place::providers(delivery, layouts)),
            ("body", body::candidates(delivery, behind)),
            ("url", url::candidates(delivery)),
            ("content", content::candidates(delivery)),
            ("header", place::headers(delivery)),
            ("token", place::tokens(delivery, layouts)),
        ];
        let own = guesses(&delivery.layout, self.secrets);
        for (kind, candidates) in kinds {
            for candidate in candidates {
                let all = match Arc::ptr_eq(&candidate.delivery.layout, &delivery.layout) {
                    true => own.clone(),
                    false => guesses(&candidate.delivery.layout, self.secrets),
                };
                let (first, rest) = all.split_at_checked(1).unwrap_or_default();
                let tried = if with_other_secrets { rest } else { first };
                if let Some(index) = self.attempt(kind, &candidate.delivery, tried) {
                    let secret = tried.get(index).and_then(|guess| guess.miss.clone());
                    return Some((
                        candidate.delivery,
                        std::iter::once(candidate.miss).chain(secret).collect(),
                    ));
                }
                if self.budget == 0 {
                    break;
                }
            }
        }
        None
    }

    /// Asks the core, unless too much was hashed already.
    fn attempt(&mut self, kind: &'static str, delivery: &Delivery, guesses: &[Guess]) -> Option<usize> {
        let each = delivery.body.len().saturating_add(ATTEMPT);
        let cost = each.saturating_mul(guesses.len());
        if cost > self.budget {
            self.left_out = self.left_out.saturating_add(guesses.len());
            self.budget = 0;
            return None;
        }
        let keys: Vec<Vec<u8>> = guesses.iter().map(|guess| guess.key.clone()).collect();
        let held = delivery.holds_at_its_time(&keys);
        // What the headers settle costs nothing and counts for nothing: no near miss of a header that is not there.
        if !matches!(held, Err(Reason::SignatureMissing | Reason::TokenMissing)) {
            self.budget = self.budget.saturating_sub(cost);
            match self.tried.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count = count.saturating_add(keys.len()),
                None => self.tried.push((kind, keys.len())),
            }
        }
        held.ok()
    }
}
