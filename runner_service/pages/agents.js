// The page of agents: tables that are live by server-sent events, and a chat over the documented WebSocket.

const agents = new Map();
const reported = new Map();
const $ = (selector, within = document) => within.querySelector(selector);

function headers() {
  const key = sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function call(path, options = {}) {
  const reply = await fetch(path, { ...options, headers: { "Content-Type": "application/json", ...headers() } });
  if (reply.status === 401) {
    await askForKey();
    return call(path, options);
  }
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.message || body.error || reply.statusText);
  return body;
}

let asking = null;
function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = $("#key");
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("key", $("input", dialog).value);
      $("form", dialog).reset();
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

// Reads server-sent events with fetch, because EventSource sends no credential.
async function* events(path) {
  const reply = await fetch(path, { headers: { Accept: "text/event-stream", ...headers() } });
  if (reply.status === 401) {
    await askForKey();
    return;
  }
  if (!reply.ok) throw new Error(reply.statusText);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) yield JSON.parse(lines.map((line) => line.slice(5)).join("\n"));
    }
  }
}

// Runs what follows a stream, for ever: `run` calls `alive` once what it has is whole, and whenever something comes.
const away = new Set(["managed", "reported"]);
async function follow(name, run) {
  let pause = 500;
  const alive = () => {
    pause = 500;
    away.delete(name);
    if (!away.size) say("Live");
  };
  for (;;) {
    try {
      await run(alive);
    } catch (error) {
      console.debug(error);
    }
    away.add(name);
    say("Connection lost. Trying again …");
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 10_000);
  }
}

async function followManaged(alive) {
  let first = true;
  for await (const message of events("/api/v2/agents:watch")) {
    if (first) agents.clear();
    first = false;
    for (const agent of message.agents ?? []) agents.set(agent.agentId, agent);
    for (const id of message.goneAgentIds ?? []) agents.delete(id);
    showManaged();
    alive();
  }
}

// The list first, then all that came behind it. What is told twice is read anew twice, which shows the same.
async function followReported(alive) {
  const found = new Map();
  let token = "";
  do {
    const page = await call(`/api/v2/reported-agents?pageSize=1000&pageToken=${encodeURIComponent(token)}`);
    for (const agent of page.agents ?? []) found.set(agent.agentId, agent);
    token = page.nextPageToken;
  } while (token);
  reported.clear();
  for (const [id, agent] of found) reported.set(id, agent);
  showReported();
  alive();
  const seen = Math.max(0, ...[...found.values()].map((agent) => Number(agent.latest?.sequence ?? 0)));
  const stale = new Set();
  let reading = Promise.resolve();
  for await (const { report, expiredSession } of events(`/api/v2/agent-reports:watch?after=${seen}`)) {
    const { agentId } = report ?? expiredSession;
    alive();
    if (stale.has(agentId)) continue;
    stale.add(agentId);
    // One after the other, however fast they report.
    reading = reading.then(() => readAgain(agentId, stale));
  }
}

async function readAgain(agentId, stale) {
  stale.delete(agentId);
  try {
    const { agent } = await call(`/api/v2/reported-agents/${encodeURIComponent(agentId)}`);
    reported.set(agentId, agent);
    showReported();
  } catch (error) {
    console.debug(error);
  }
}

function say(text) {
  const place = $("#connection");
  if (place.textContent !== text) place.textContent = text;
}

const statusOf = ({ status = "" }) => status.replace("STATUS_", "").toLowerCase();
const put = (cell, text) => { if (cell.textContent !== text) cell.textContent = text; };
const timeOf = (time) => new Date(time).toLocaleString();

// Rows are kept and changed in place, so that focus and selection stay where they are.
function show(table, items, newRow, fill) {
  const body = $("tbody", table);
  const rows = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  for (const [index, item] of items.entries()) {
    const row = rows.get(item.agentId) ?? newRow(item);
    rows.delete(item.agentId);
    fill(row, item);
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  }
  for (const row of rows.values()) row.remove();
}

function showManaged() {
  const sorted = [...agents.values()].sort((one, two) => (one.agentId < two.agentId ? 1 : -1));
  show($("#managed"), sorted, newRow, fill);
  $("#nobody").hidden = sorted.length > 0;
}

// Who was heard of last stands first.
function showReported() {
  const sorted = [...reported.values()].sort((one, two) => (one.lastSeenTime < two.lastSeenTime ? 1 : -1));
  show($("#reported"), sorted, newReportedRow, fillReported);
  $("#no-reports").hidden = sorted.length > 0;
}

function emptyRow(agent, cells) {
  const row = document.createElement("tr");
  row.dataset.id = agent.agentId;
  const name = document.createElement("th");
  name.scope = "row";
  row.append(name, ...Array.from({ length: cells }, () => document.createElement("td")));
  return row;
}

function newButton(text, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", action);
  return button;
}

function newReportedRow(agent) {
  const row = emptyRow(agent, 6);
  row.cells[1].append(document.createElement("span"));
  row.cells[3].className = "number";
  row.cells[5].className = "message";
  row.cells[6].append(newButton("Sessions", () => showSessions(reported.get(agent.agentId) ?? agent)));
  return row;
}

function fillReported(row, agent) {
  const latest = agent.latest ?? {};
  const status = statusOf(latest);
  put(row.cells[0], agent.name || agent.agentId);
  row.cells[0].title = agent.agentId;
  put(row.cells[1].firstChild, status);
  row.cells[1].firstChild.className = `status ${status}`;
  put(row.cells[2], agent.source ?? "");
  put(row.cells[3], `${agent.activeSessionCount ?? 0} of ${agent.sessionCount ?? 0}`);
  put(row.cells[4], timeOf(agent.lastSeenTime));
  put(row.cells[5], latest.message ?? "");
  row.cells[6].firstChild.setAttribute("aria-label", `Sessions: ${agent.name || agent.agentId}`);
}

async function showSessions(agent) {
  const dialog = $("#sessions");
  $("h2", dialog).textContent = `Sessions of ${agent.name || agent.agentId}`;
  const { sessions = [] } = await call(`/api/v2/reported-agents/${encodeURIComponent(agent.agentId)}/sessions`);
  $("tbody", dialog).replaceChildren(...sessions.map((session) => {
    const row = emptyRow(session, 5);
    const { current = {}, expireTime } = session;
    const texts = [session.topic, statusOf(current), expireTime ? "expired" : "alive", String(session.reportCount ?? 0),
      timeOf(session.updateTime), current.message ?? ""];
    for (const [index, text] of texts.entries()) put(row.cells[index], text);
    row.cells[3].className = "number";
    row.cells[5].className = "message";
    return row;
  }));
  dialog.showModal();
}

function newRow(agent) {
  const row = emptyRow(agent, 8);
  for (const index of [4, 5, 6]) row.cells[index].className = "number";
  const status = document.createElement("span");
  const problem = document.createElement("span");
  problem.className = "problem";
  row.cells[1].append(status, problem);
  for (const [text, action] of [["Chat", talk], ["Log", showLog], ["Stop", stop]]) {
    row.cells[8].append(newButton(text, () => action(agents.get(agent.agentId) ?? agent)));
  }
  return row;
}

function fill(row, agent) {
  const status = statusOf(agent);
  const usage = agent.usage ?? {};
  put(row.cells[0], agent.name);
  row.cells[0].title = agent.agentId;
  const [word, problem] = row.cells[1].children;
  put(word, status);
  word.className = `status ${status}`;
  put(problem, agent.problem ?? "");
  problem.hidden = !agent.problem;
  put(row.cells[2], agent.image);
  put(row.cells[3], agent.model ?? "");
  put(row.cells[4], String(usage.requests ?? 0));
  put(row.cells[5], String(usage.tokens ?? 0));
  put(row.cells[6], Number(usage.memoryBytes ?? 0) ? `${Math.round(usage.memoryBytes / 1048576)} MB` : "–");
  put(row.cells[7], timeOf(agent.createTime));
  for (const button of row.cells[8].children) button.setAttribute("aria-label", `${button.textContent}: ${agent.name}`);
  row.cells[8].children[0].disabled = status !== "running" && status !== "creating";
}

async function stop(agent) {
  try {
    await call(`/api/v2/agents/${agent.agentId}`, { method: "DELETE" });
  } catch (error) {
    say(`${agent.name} cannot be stopped: ${error.message}`);
  }
}

async function showLog(agent) {
  const dialog = $("#log");
  $("h2", dialog).textContent = `Log of ${agent.name}`;
  const { entries = [] } = await call(`/api/v2/agents/${agent.agentId}/logs?pageSize=500`);
  $("pre", dialog).textContent = entries.map((entry) => `${entry.time} ${entry.level.padEnd(7)} ${entry.message}`).join("\n") || "Nothing yet.";
  dialog.showModal();
}

function talk(agent) {
  const dialog = $("#talk");
  const said = $("#said");
  const form = $("form", dialog);
  const answers = new Map();
  said.replaceChildren();
  $("h2", dialog).textContent = `Chat with ${agent.name}`;
  const key = sessionStorage.getItem("key");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const query = key ? `?token=${encodeURIComponent(key)}` : "";
  const socket = new WebSocket(`${scheme}://${location.host}/v1/agents/${agent.agentId}/chat${query}`);
  const open = new Promise((resolve) => { socket.onopen = resolve; });
  const add = (kind, text) => {
    const line = document.createElement("p");
    line.className = kind;
    line.textContent = text;
    const atEnd = said.scrollTop + said.clientHeight >= said.scrollHeight - 20;
    said.append(line);
    if (atEnd) said.scrollTop = said.scrollHeight;
    return line;
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type === "stream_start") answers.set(frame.response_id, add("agent", ""));
    else if (frame.type === "stream_chunk") {
      answers.get(frame.response_id).append(frame.content);
      said.scrollTop = said.scrollHeight;
    } else if (frame.type === "stream_end") answers.get(frame.response_id).dataset.done = "";
    else if (frame.type === "event" && frame.event_type !== "thinking") add("event", frame.content);
    else if (frame.type === "error") add("problem", frame.error);
  };
  socket.onclose = ({ code, reason }) => { if (dialog.open) add("event", `The chat has ended${reason ? `: ${reason}` : ""} (${code}).`); };
  form.onsubmit = (event) => {
    event.preventDefault();
    const content = form.elements.message.value;
    // A fast hand may be ahead of the socket.
    open.then(() => socket.send(JSON.stringify({ type: "message", content })));
    add("me", content);
    form.reset();
    form.elements.message.focus();
  };
  form.elements.message.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  };
  dialog.addEventListener("close", () => socket.close(), { once: true });
  dialog.showModal();
  form.elements.message.focus();
}

async function openNew() {
  const dialog = $("#new");
  const form = $("form", dialog);
  const { images = [] } = await call("/api/v2/images");
  const about = new Map(images.map((image) => [`${image.name}:${image.tag}`, image.manifest?.description ?? ""]));
  form.elements.image.replaceChildren(...[...about.keys()].map((name) => new Option(name, name)));
  const tell = () => { $("#image-about").textContent = about.get(form.elements.image.value) ?? ""; };
  form.elements.image.onchange = tell;
  tell();
  $(".problem", dialog).textContent = "";
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      const environment = {};
      for (const line of form.elements.environment.value.split("\n").filter((each) => each.trim())) {
        const at = line.indexOf("=");
        if (at < 1) throw new Error(`“${line}” is not of the form NAME=VALUE`);
        environment[line.slice(0, at).trim()] = line.slice(at + 1);
      }
      const wanted = { image: form.elements.image.value, name: form.elements.name.value, model: form.elements.model.value, environment };
      if (form.elements.parameters.value.trim()) wanted.parameters = JSON.parse(form.elements.parameters.value);
      await call("/api/v2/agents", { method: "POST", body: JSON.stringify(wanted) });
      form.reset();
      dialog.close();
    } catch (error) {
      $(".problem", dialog).textContent = error.message;
    }
  };
  dialog.showModal();
}

$("#open-new").addEventListener("click", openNew);
for (const button of document.querySelectorAll('dialog button[value="cancel"]')) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
follow("managed", followManaged);
follow("reported", followReported);
