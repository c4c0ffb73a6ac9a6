//! What is said in the end, for people and for programs.
//!
//! Responsible for the words around causes and findings.

use super::miss::Miss;
use super::{Diagnosis, Outcome};
use crate::output::terminal::{Cell, Table, Text, Tone};
use serde_json::{Value, json};

const HOLDS: &str = "The signature holds: the gateway takes this delivery with this secret.";
const NEAR: &str = "The delivery does not hold as it is, and the cause was found.";
const NOTHING: &str = "The delivery does not hold, and no near miss fits.";

/// What is left where nothing fits.
const REMAINS: [&str; 3] = [
    "another secret: look at the sender which one it signs with, and give both with --secret-env or --secret-file",
    "a body that was changed in a way that cannot be undone: capture the request before any proxy, and as bytes",
    "a scheme that is not in the catalogue: write it into a file and give it with --scheme",
];

pub(super) fn text(diagnosis: &Diagnosis) -> Text {
    let (tone, headline) = match &diagnosis.outcome {
        Outcome::Holds => (Tone::Good, HOLDS),
        Outcome::Near(_) => (Tone::Bad, NEAR),
        Outcome::Nothing => (Tone::Bad, NOTHING),
    };
    let mut text = Text::default().painted(tone, headline).own("\n");
    let mut table = Table::indented(2);
    let row =
        |table: &mut Table, name: &str, value: &str| table.row([Cell::new(name, Tone::Faint), value.into()]);
    for (name, value) in &diagnosis.subject {
        row(&mut table, name, value);
    }
    if let Some((code, words)) = &diagnosis.reason {
        row(&mut table, "verdict", &format!("{code}: {words}"));
    }
    text = text.and(&table.text());
    if let Outcome::Near(misses) = &diagnosis.outcome {
        for miss in misses {
            text = text.own("\n").painted(Tone::Strong, format!("Cause: {}", miss.code)).own("\n");
            text = text.own("  ").shown(&miss.cause).own("\n");
            let mut table = Table::indented(2);
            row(&mut table, "sender", &miss.sender);
            row(&mut table, "gateway", &miss.gateway);
            text = text.and(&table.text());
        }
        let proof = match misses.len() {
            1 => "With that, and nothing else changed, the filter's own check holds for this capture.",
            _ => {
                "With both, and nothing else changed, the filter's own check holds for this capture; with either alone it does not."
            }
        };
        text = text.own("\n").painted(Tone::Faint, proof).own("\n");
    }
    if !diagnosis.findings.is_empty() {
        text = text.own("\n").painted(Tone::Strong, "Seen").own("\n");
        let mut table = Table::indented(2);
        for finding in &diagnosis.findings {
            table.row([Cell::new(finding.code, Tone::Doubt), finding.text.as_str().into()]);
        }
        text = text.and(&table.text());
    }
    if matches!(diagnosis.outcome, Outcome::Nothing) {
        let tried: Vec<String> =
            diagnosis.tried.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let tried = if tried.is_empty() {
            "nothing: there is no signature to try".to_owned()
        } else {
            tried.join(", ")
        };
        text = text.own("\n").painted(Tone::Strong, "Tried:").own(" ").shown(tried).own("\n");
        if diagnosis.left_out > 0 {
            text =
                text.own("  not all: the body is large; a smaller delivery of the same sender tells more\n");
        }
        text = text.painted(Tone::Strong, "What remains:").own("\n");
        for line in REMAINS {
            text = text.own("  ").own(line).own("\n");
        }
    }
    text
}

pub(super) fn json(diagnosis: &Diagnosis) -> Text {
    let (outcome, misses): (&str, &[Miss]) = match &diagnosis.outcome {
        Outcome::Holds => ("holds", &[]),
        Outcome::Near(misses) => ("near_miss", misses),
        Outcome::Nothing => ("nothing_fits", &[]),
    };
    let causes = misses.iter().map(
        |miss| json!({ "code": miss.code, "cause": miss.cause, "sender": miss.sender, "gateway": miss.gateway }),
    );
    let findings = diagnosis.findings.iter().map(|one| json!({ "code": one.code, "text": one.text }));
    let tried: Value =
        diagnosis.tried.iter().map(|(kind, count)| ((*kind).to_owned(), json!(count))).collect();
    let subject: Value =
        diagnosis.subject.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let all = json!({
        "outcome": outcome,
        "reason": diagnosis.reason.as_ref().map(|(code, _)| code),
        "causes": causes.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
        "judged": subject,
        "tried": tried,
        "left_out": diagnosis.left_out,
    });
    Text::json(&all)
}
