// The page of messages. Everything that it shows was written by strangers, and is put in place as text: nothing here makes
// markup of a text, and the page's policy would not let it.
"use strict";

const FILTERS = ["q", "verdict", "reason", "policy", "provider", "status", "path", "from", "to"];
const VERDICTS = ["allow", "answer", "report", "deny"];
const HOUR = 3600000;
const PAGE = 50;
const place = (id) => document.getElementById(id);
const state = { me: null, rows: [], current: null, open: null, hasMore: false, asked: 0 };

// Making elements

function element(name, text, ...kinds) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  made.classList.add(...kinds.filter(Boolean));
  return made;
}

function button(text, act) {
  const made = element("button", text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** Of what a stranger wrote, only what is a verdict becomes the name of a class. */
function kind(verdict) {
  return VERDICTS.includes(verdict) ? verdict : "";
}

function time(milliseconds) {
  const at = new Date(milliseconds);
  const two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  return bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1048576).toFixed(1)} MiB`;
}

// Asking

async function ask(path, options) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, ...options });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error || `the answer is ${answer.status}`);
  return told;
}

function complain(error) {
  place("complaint").hidden = !error;
  place("complaint").textContent = error ? error.message : "";
}

/** What is asked for stands in the URL, so that it can be sent to a colleague. */
function filters() {
  const given = new URLSearchParams(location.search);
  return new URLSearchParams(FILTERS.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
}

function go(changes) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  if (url.href !== location.href) history.pushState(null, "", url);
}

// The list

async function load() {
  const turn = ++state.asked;
  try {
    const wanted = filters();
    wanted.set("limit", PAGE);
    const { messages } = await ask(`/api/messages?${wanted}`);
    if (turn !== state.asked) return;
    state.rows = messages;
    state.hasMore = messages.length === PAGE;
    place("new").hidden = true;
    complain(null);
    showRows();
  } catch (error) {
    if (turn === state.asked) complain(error);
  }
}

async function older() {
  try {
    const wanted = filters();
    wanted.set("limit", PAGE);
    wanted.set("before", state.rows.at(-1).id);
    const { messages } = await ask(`/api/messages?${wanted}`);
    state.rows.push(...messages);
    state.hasMore = messages.length === PAGE;
    showRows();
  } catch (error) {
    complain(error);
  }
}

/** What is newer than the first row, where that is what is looked at. */
async function newer() {
  if (!state.rows.length) return load();
  try {
    const wanted = filters();
    wanted.set("after", state.rows[0].id);
    wanted.set("limit", 500);
    const { messages } = await ask(`/api/messages?${wanted}`);
    if (!messages.length) return;
    if (window.scrollY > 200 || messages.length === 500) {
      place("new").hidden = false;
      return;
    }
    state.rows.unshift(...messages.reverse());
    state.rows.length = Math.min(state.rows.length, 500);
    showRows();
  } catch (error) {
    complain(error);
  }
}

function showRows() {
  const rows = state.rows.map((message) => {
    const row = element("tr");
    row.dataset.id = message.id;
    row.append(
      element("td", time(message.time)), element("td", message.verdict, kind(message.verdict)), element("td", message.status),
      element("td", message.reason), element("td", message.policy), element("td", message.provider), element("td", message.path),
      element("td", message.delivery_id), element("td", size(message.body_bytes)));
    row.addEventListener("click", () => open(message.id));
    return row;
  });
  place("rows").replaceChildren(...rows);
  place("none").hidden = rows.length > 0;
  place("more").hidden = !state.hasMore;
  mark();
}

function mark() {
  for (const row of place("rows").children) {
    const isCurrent = Number(row.dataset.id) === state.current;
    row.classList.toggle("current", isCurrent);
    if (isCurrent) row.scrollIntoView({ block: "nearest" });
  }
}

function move(by) {
  const at = state.rows.findIndex((message) => message.id === state.current);
  const next = state.rows[Math.max(0, Math.min(state.rows.length - 1, at < 0 ? 0 : at + by))];
  if (!next) return;
  state.current = next.id;
  mark();
  if (state.open !== null) open(next.id);
}

// One message

function open(id) {
  go({ id });
  show();
}

function close() {
  go({ id: null });
  show();
}

async function show() {
  const id = Number(new URLSearchParams(location.search).get("id")) || null;
  state.open = id;
  place("detail").hidden = id === null;
  document.querySelector("main").classList.toggle("open", id !== null);
  if (id === null) return;
  state.current = id;
  mark();
  try {
    const told = await ask(`/api/messages/${id}`);
    if (state.open === id) showMessage(told);
  } catch (error) {
    place("detail").replaceChildren(element("p", error.message));
  }
}

function pairs(list) {
  const made = element("dl");
  for (const [name, value] of list) {
    if (value !== null && value !== undefined && value !== "") made.append(element("dt", name), element("dd", value));
  }
  return made;
}

function showMessage({ message, advice, payload, resubmits, obstacle }) {
  const parts = [];
  const closing = button("Close", close);
  closing.classList.add("close");
  parts.push(closing, element("h2", `Message ${message.id}`));
  const verdict = element("p");
  verdict.append(element("strong", `${message.verdict} ${message.reason}`, kind(message.verdict)), ` – ${advice.meaning}`);
  parts.push(verdict, trail(message.checks));
  const [path, ...query] = (message.path || "").split("?");
  parts.push(pairs([
    ["time", time(message.time)], ["method", message.method], ["path", path], ["host", message.host], ["from", message.source],
    ["status", message.status], ["details", message.details], ["policy", message.policy], ["provider", message.provider],
    ["delivery id", message.delivery_id], ["secret", message.secret_id], ["duplicate", message.duplicate],
    ["request id", message.request_id], ["size", size(message.body_bytes)], ["sha256", message.body_sha256]]));
  if (query.length) parts.push(element("h2", "Query"), pairs([...new URLSearchParams(query.join("?"))]));
  if (advice.commands.length) {
    parts.push(element("h2", "Find out more"), ...advice.commands.map((command) => element("pre", command)));
  }
  parts.push(...again(message, resubmits, obstacle));
  if (payload) parts.push(...body(message, payload));
  else parts.push(element("p", "You may not see headers and payloads."));
  place("detail").replaceChildren(...parts);
}

function trail(checks) {
  const made = element("ol", null, "trail");
  for (const check of (checks || "").split(",").filter(Boolean)) {
    const [name, outcome] = check.split(":");
    const sign = { pass: "✓", fail: "✗" }[outcome] || "–";
    made.append(element("li", `${sign} ${name}`, ["pass", "fail"].includes(outcome) ? outcome : "skip"));
  }
  return made;
}

function again(message, resubmits, obstacle) {
  const parts = [];
  if (state.me.resubmit) {
    const send = button("Send it again", () => confirm(message));
    send.id = "resubmit";
    send.disabled = Boolean(obstacle);
    const tools = element("div", null, "tools");
    tools.append(send);
    if (obstacle) tools.append(element("span", `It cannot be sent again: ${obstacle}.`));
    parts.push(tools);
  }
  if (resubmits.length) {
    parts.push(element("h2", "Sent again"), pairs(resubmits.map((one) => [
      time(one.at), `by ${one.by}: ${one.outcome}${one.status ? ` ${one.status}` : ""}`])));
  }
  return parts;
}

function confirm(message) {
  place("question").textContent = `Send message ${message.id} (${message.method} ${message.path}) to ${state.me.gateway} again, as ${state.me.name}?`;
  place("yes").onclick = async () => {
    place("ask").close();
    try {
      await ask(`/api/messages/${message.id}/resubmit`, { method: "POST" });
      complain(null);
    } catch (error) {
      complain(error);
    }
    show();
  };
  place("ask").showModal();
}

function body(message, payload) {
  const parts = [];
  if (payload.headers.length) parts.push(element("h2", "Headers"), pairs(payload.headers));
  const raw = payload.text ?? payload.base64;
  if (raw === null || raw === undefined) return [...parts, element("p", "Its body was not recorded.")];
  const shown = element("pre", raw);
  shown.id = "payload";
  const tools = element("div", null, "tools");
  const pretty = prettified(payload.text);
  if (pretty !== null) {
    shown.textContent = pretty;
    const turn = button("Raw", () => {
      const isRaw = turn.textContent === "Raw";
      shown.textContent = isRaw ? raw : pretty;
      turn.textContent = isRaw ? "Pretty" : "Raw";
    });
    tools.append(turn);
  }
  tools.append(button("Copy", () => copy(raw)), button("Copy as curl", () => copy(payload.curl)));
  const link = element("a", "Download");
  link.href = `/api/messages/${Number(message.id)}/body`;
  tools.append(link);
  const title = payload.base64 ? "Payload, in base64" : "Payload";
  return [...parts, element("h2", payload.truncated ? `${title}, its beginning` : title), tools, shown];
}

/** JSON with its lines indented; nothing where it is none. Raw shows the very bytes. */
function prettified(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}

function copy(text) {
  navigator.clipboard.writeText(text).catch(complain);
}

// The week

async function week() {
  const { now, since, hours } = await ask("/api/hours");
  const last = Math.floor(now / HOUR);
  const count = last - since + 1;
  const by = new Map();
  const totals = new Map(VERDICTS.map((verdict) => [verdict, 0]));
  for (const { hour, verdict, count: number } of hours) {
    if (!totals.has(verdict)) continue;
    totals.set(verdict, totals.get(verdict) + number);
    by.set(hour, { ...by.get(hour), [verdict]: number });
  }
  const sum = (one) => Object.values(one).reduce((all, number) => all + number, 0);
  const most = Math.max(1, ...[...by.values()].map(sum));
  const drawing = place("week");
  const height = 100;
  drawing.setAttribute("viewBox", `0 0 ${count} ${height}`);
  drawing.setAttribute("aria-label", `Messages by the hour: ${VERDICTS.map((verdict) => `${totals.get(verdict)} ${verdict}`).join(", ")}`);
  const bars = [];
  for (const [hour, numbers] of by) {
    let top = height;
    for (const verdict of VERDICTS) {
      const tall = numbers[verdict] ? Math.max(2, (numbers[verdict] / most) * height) : 0;
      if (!tall) continue;
      top -= tall;
      bars.push(bar(hour, hour - since, top, tall, verdict, `${time(hour * HOUR)}: ${numbers[verdict]} ${verdict}`));
    }
  }
  drawing.replaceChildren(...bars);
  place("legend").replaceChildren(...VERDICTS.map((verdict) => element("span", `${totals.get(verdict)} ${verdict}`, verdict)));
}

function bar(hour, at, top, tall, verdict, words) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["x", at + 0.05], ["y", top], ["width", 0.9], ["height", tall]]) made.setAttribute(name, value);
  made.classList.add(verdict);
  const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
  title.textContent = words;
  made.append(title);
  made.addEventListener("click", () => choose({ from: String(hour * HOUR), to: String((hour + 1) * HOUR), verdict }));
  return made;
}

// Filters

function choose(changes) {
  go(changes);
  fill();
  load();
}

/** The form says what the URL says. */
function fill() {
  const given = filters();
  for (const field of place("filters").elements) {
    if (!field.name) continue;
    const value = given.get(field.name) || "";
    if (field.tagName === "SELECT" && value && ![...field.options].some((option) => option.value === value)) {
      field.append(element("option", value));
    }
    if (field !== document.activeElement) field.value = value;
  }
  const from = Number(given.get("from"));
  place("period").hidden = !from;
  place("period").textContent = from ? `from ${time(from)} to ${time(Number(given.get("to")))}` : "";
}

async function values() {
  for (const [name, known] of Object.entries(await ask("/api/values"))) {
    const field = place("filters").elements[name];
    const chosen = field.value;
    field.replaceChildren(field.options[0], ...known.map((value) => element("option", value)));
    field.value = chosen;
  }
  fill();
}

function clear() {
  place("q").blur();
  choose(Object.fromEntries(FILTERS.map((name) => [name, null])));
}

// Keys

function onKey(event) {
  const isTyping = ["INPUT", "SELECT"].includes(document.activeElement.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey || place("ask").open) return;
  if (event.key === "Escape") {
    if (isTyping) document.activeElement.blur();
    else close();
    return;
  }
  if (isTyping) return;
  const acts = {
    j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
    Enter: () => state.current !== null && open(state.current), "/": () => place("q").focus(), c: clear,
  };
  if (event.key === "Enter" && document.activeElement.tagName === "BUTTON") return;
  if (acts[event.key]) {
    event.preventDefault();
    acts[event.key]();
  }
}

// Live

function listen() {
  const source = new EventSource("/api/live");
  let isDue = false;
  source.addEventListener("open", () => { place("live").textContent = "live"; });
  source.addEventListener("error", () => { place("live").textContent = "not connected"; });
  source.addEventListener("newest", () => {
    newer();
    if (isDue) return;
    isDue = true;
    setTimeout(() => { isDue = false; week().catch(complain); values().catch(complain); }, 2000);
  });
}

async function start() {
  try {
    state.me = await ask("/api/me");
  } catch (error) {
    complain(error);
    return;
  }
  place("who").textContent = state.me.name;
  let typed = 0;
  place("filters").addEventListener("submit", (event) => event.preventDefault());
  place("filters").addEventListener("input", (event) => {
    clearTimeout(typed);
    typed = setTimeout(() => choose({ [event.target.name]: event.target.value }), event.target.tagName === "SELECT" ? 0 : 250);
  });
  place("clear").addEventListener("click", clear);
  place("more").addEventListener("click", older);
  place("new").addEventListener("click", () => { window.scrollTo(0, 0); load(); });
  place("no").addEventListener("click", () => place("ask").close());
  document.addEventListener("keydown", onKey);
  window.addEventListener("popstate", () => { fill(); load(); show(); });
  fill();
  await Promise.all([load(), show(), week(), values()]).catch(complain);
  listen();
}

start();
