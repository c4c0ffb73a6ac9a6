//! The guard's records among those of an OTLP request.
//!
//! Responsible for the names under which Envoy's loggers send them, and for how many are taken.

use crate::message::Message;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The most records of one request.
const MOST_RECORDS: usize = 50_000;

/// The names of the attributes that are not those of the JSON lines behind `webhook.`: `envoy/access-log/otlp.yaml`.
const NAMES: [(&str, &str); 7] = [
    ("method", "http.request.method"),
    ("path", "http.target"),
    ("host", "http.request.header.host"),
    ("status", "http.response.status_code"),
    ("details", "envoy.response_code_details"),
    ("source", "client.address"),
    ("request_id", "http.request.header.x-request-id"),
];

/// The guard's records of a request; others are none of ours.
pub(crate) fn messages(request: ExportLogsServiceRequest) -> Vec<Message> {
    let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    let records = scopes.flat_map(|scope| scope.log_records).take(MOST_RECORDS);
    let message = |record: LogRecord| {
        let time = time(record.time_unix_nano);
        let attributes = record.attributes;
        Message::read(|name| match name {
            "time" => time.clone(),
            name => attribute(&attributes, name),
        })
    };
    records.filter_map(message).collect()
}

fn time(nanoseconds: u64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).ok()?.format(&Rfc3339).ok()
}

/// An attribute by its name in the JSON lines. Envoy writes `-` for what there is none of; of a body that is its own text,
/// which its encoding tells.
fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let key = NAMES.iter().find(|(ours, _)| *ours == name).map(|(_, theirs)| (*theirs).to_owned());
    let key = key.unwrap_or_else(|| format!("webhook.{name}"));
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    let text = match &found.value {
        Some(AnyValue { value: Some(any_value::Value::StringValue(text)) }) => text.clone(),
        Some(AnyValue { value: Some(any_value::Value::IntValue(number)) }) => number.to_string(),
        _ => return None,
    };
    (name == "body" || text != "-").then_some(text)
}
