// Measures registrations as the visitor feels them, and shows what the worker reports.
"use strict";

const HANDLER = "send_welcome_email";
const ROWS = 12;

const form = document.querySelector("#register");
const feed = document.querySelector("#feed");
const trouble = document.querySelector("#trouble");

// Of the latest try on each side: how long the visitor waited, and the run of the handler.
const tries = { request: null, worker: null };
let seenRun = Number(feed.dataset.after);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  try {
    await register(event.submitter.value);
  } catch (error) {
    complain(`The registration failed: ${error.message}.`);
  } finally {
    for (const button of buttons) button.disabled = false;
    event.submitter.focus();
  }
});

async function register(where) {
  const body = new FormData(form);
  body.set("where", where);
  const clicked = performance.now();
  const response = await fetch(form.action, { method: "POST", body });
  const waitedMs = performance.now() - clicked;
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const { seen_run } = await response.json();
  tries[where] = { waitedMs, after: seen_run, run: null };
  draw();
}

// The worker's side

async function poll() {
  try {
    const response = await fetch(`${feed.dataset.url}?after=${seenRun}`);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const { web_pid, runs } = await response.json();
    document.querySelector("#web-pid").textContent = web_pid;
    trouble.hidden = true;
    runs.forEach(show);
  } catch (error) {
    complain(`The worker's runs cannot be read: ${error.message}. Trying again.`);
  }
  setTimeout(poll, 1000);
}

function show(run) {
  seenRun = run.id;
  addRow(run);
  const latest = tries.worker;
  const isLatest = latest && !latest.run && run.id > latest.after;
  if (isLatest && run.handler === HANDLER && !run.error) {
    latest.run = run;
    draw();
  }
}

function addRow(run) {
  const rows = feed.tBodies[0];
  rows.querySelector(".empty")?.remove();
  const row = rows.insertRow(0);
  row.className = "new";
  row.dataset.handler = run.handler;
  addCell(row, run.signal);
  addCell(row, run.handler);
  addCell(row, run.pid, "number");
  addCell(row, ms(run.queued_ms), "number");
  addCell(row, ms(run.ran_ms), "number");
  if (run.error) addCell(row, `${run.error}, attempt ${run.attempt}`, "failed");
  else addCell(row, "done");
  while (rows.rows.length > ROWS) rows.deleteRow(-1);
}

function addCell(row, text, className = "") {
  const cell = row.insertCell();
  cell.textContent = text;
  cell.className = className;
}

// The two lanes, on one scale

function draw() {
  const { request, worker } = tries;
  const laterMs = worker?.run ? endsAfter(worker) - worker.waitedMs : 0;
  const longest = Math.max(request?.waitedMs ?? 0, (worker?.waitedMs ?? 0) + laterMs);
  setWidth("request", request?.waitedMs ?? 0, longest);
  setWidth("worker", worker?.waitedMs ?? 0, longest);
  setWidth("handler", laterMs, longest);
  if (request) {
    say("request-ms", ms(request.waitedMs));
    say("request-says", `Answer and letter after ${ms(request.waitedMs)} ms`);
  }
  if (worker) {
    say("worker-ms", ms(worker.waitedMs));
    say("worker-says", `Answer after ${ms(worker.waitedMs)} ms, ${letter(worker)}`);
  }
  if (request && worker) {
    const times = (request.waitedMs / worker.waitedMs).toFixed(1);
    say("verdict", `With the handler in the worker, the answer came ${times} times as fast.`);
  }
}

// The letter is ready when the handler has waited in the queue and run. It was queued
// within the request, so this puts its end a little late, never early.
function endsAfter({ waitedMs, run }) {
  return waitedMs + run.queued_ms + run.ran_ms;
}

function letter({ run }) {
  if (!run) return "letter under way …";
  return `letter ${ms(run.queued_ms + run.ran_ms)} ms later, by process ${run.pid}`;
}

function setWidth(lane, value, longest) {
  const bar = document.querySelector(`[data-lane="${lane}"]`);
  bar.style.width = `${longest ? (100 * value) / longest : 0}%`;
  bar.dataset.ms = value;
}

function say(id, text) {
  document.getElementById(id).textContent = text;
}

function ms(value) {
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

function complain(text) {
  trouble.textContent = text;
  trouble.hidden = false;
}

poll();
