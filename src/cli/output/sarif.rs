//! Findings as SARIF 2.1.0 (OASIS), which code-scanning services read.
//!
//! Responsible for that form alone.

use crate::cmd::check::Finding;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// One run with its results.
pub(crate) fn report(list: &[Finding]) -> Value {
    let codes: BTreeSet<&str> = list.iter().map(|finding| finding.code).collect();
    let rules: Vec<Value> = codes.into_iter().map(|code| json!({"id": code})).collect();
    let results: Vec<Value> = list.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "webhook-guard", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    })
}

fn result(finding: &Finding) -> Value {
    json!({
        "ruleId": finding.code,
        "level": finding.severity.word(),
        "message": {"text": finding.message},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": finding.path.display().to_string()},
                "region": {"startLine": finding.position.line, "startColumn": finding.position.column},
            },
        }],
    })
}
