-- What the page of messages shows, asked of ClickHouse. Values are parameters: clickhouse-client --param_policy=github …

-- name: newest
SELECT time, verdict, status, reason, policy, provider, path, delivery_id, body_bytes, request_id
FROM webhook_messages ORDER BY time DESC LIMIT 50;

-- name: refused
SELECT time, status, reason, policy, provider, path, source, request_id
FROM webhook_messages
WHERE verdict IN ('deny', 'report') AND policy = {policy:String} AND time >= now() - INTERVAL 7 DAY
ORDER BY time DESC LIMIT 50;

-- name: one
SELECT * FROM webhook_messages WHERE request_id = {id:String} OR delivery_id = {id:String} ORDER BY time DESC LIMIT 10;

-- name: search
SELECT time, verdict, reason, policy, path, request_id
FROM webhook_messages WHERE hasToken(lower(body), lower({word:String})) ORDER BY time DESC LIMIT 50;

-- name: payload
SELECT if(startsWith(body_encoding, 'base64'), base64Decode(body), body) AS payload, endsWith(body_encoding, '+truncated') AS is_truncated
FROM webhook_messages WHERE request_id = {id:String} LIMIT 1;

-- name: week
SELECT toStartOfHour(time) AS hour, verdict, count() AS messages
FROM webhook_messages WHERE time >= now() - INTERVAL 7 DAY GROUP BY hour, verdict ORDER BY hour, verdict;

-- name: reasons
SELECT policy, reason, count() AS messages, uniq(source) AS sources, max(time) AS last
FROM webhook_messages WHERE verdict IN ('deny', 'report') AND time >= now() - INTERVAL 1 DAY
GROUP BY policy, reason ORDER BY messages DESC;

-- name: failed
SELECT time, status, policy, path, delivery_id, request_id
FROM webhook_messages WHERE verdict = 'allow' AND status >= 400 ORDER BY time DESC LIMIT 50;
