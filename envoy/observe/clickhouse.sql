-- Messages in ClickHouse, kept for seven days: made of what the collector's exporter writes into otel_logs (collector.yaml), whatever
-- other columns its version has. Run it once, after the exporter has made its table.

CREATE TABLE IF NOT EXISTS webhook_messages
(
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    request_id String,
    method LowCardinality(String),
    path String,
    host LowCardinality(String),
    status UInt16,
    verdict LowCardinality(String),
    reason LowCardinality(String),
    policy LowCardinality(String),
    provider LowCardinality(String),
    delivery_id String,
    secret_id LowCardinality(String),
    checks LowCardinality(String),
    duplicate LowCardinality(String),
    details LowCardinality(String),
    source String,
    headers String CODEC(ZSTD),
    body String CODEC(ZSTD(3)),
    body_encoding LowCardinality(String),
    body_sha256 String,
    body_bytes Nullable(UInt64),
    INDEX request_ids request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX delivery_ids delivery_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX words lower(body) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (policy, verdict, time)
TTL toDateTime(time) + INTERVAL 7 DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

-- Envoy writes `-` for what there is none of; of a body that is its own text, which its encoding tells.
CREATE MATERIALIZED VIEW IF NOT EXISTS webhook_messages_from_otel TO webhook_messages AS
SELECT
    toDateTime64(Timestamp, 3, 'UTC') AS time,
    replaceRegexpOne(LogAttributes['http.request.header.x-request-id'], '^-$', '') AS request_id,
    LogAttributes['http.request.method'] AS method,
    LogAttributes['http.target'] AS path,
    LogAttributes['http.request.header.host'] AS host,
    toUInt16OrZero(LogAttributes['http.response.status_code']) AS status,
    LogAttributes['webhook.verdict'] AS verdict,
    LogAttributes['webhook.reason'] AS reason,
    replaceRegexpOne(LogAttributes['webhook.policy'], '^-$', '') AS policy,
    replaceRegexpOne(LogAttributes['webhook.provider'], '^-$', '') AS provider,
    replaceRegexpOne(LogAttributes['webhook.delivery_id'], '^-$', '') AS delivery_id,
    replaceRegexpOne(LogAttributes['webhook.secret_id'], '^-$', '') AS secret_id,
    replaceRegexpOne(LogAttributes['webhook.checks'], '^-$', '') AS checks,
    replaceRegexpOne(LogAttributes['webhook.duplicate'], '^-$', '') AS duplicate,
    LogAttributes['envoy.response_code_details'] AS details,
    LogAttributes['client.address'] AS source,
    replaceRegexpOne(LogAttributes['webhook.headers'], '^-$', '') AS headers,
    if(LogAttributes['webhook.body_encoding'] IN ('', '-'), '', LogAttributes['webhook.body']) AS body,
    replaceRegexpOne(LogAttributes['webhook.body_encoding'], '^-$', '') AS body_encoding,
    replaceRegexpOne(LogAttributes['webhook.body_sha256'], '^-$', '') AS body_sha256,
    toUInt64OrNull(LogAttributes['webhook.body_bytes']) AS body_bytes
FROM otel_logs
WHERE LogAttributes['webhook.verdict'] NOT IN ('', '-');
