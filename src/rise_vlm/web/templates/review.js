// The page: shows one item, takes keys and clicks, and sends every decision and every edit to the server at once.

import { element, makeEditor } from "./editors.js";
import { showPicture, watchPicture } from "./picture.js";

const $ = (id) => document.getElementById(id);
const QUIET = 200; // ms without an edit until a draft is sent
const BURST = 300; // ms; edits that follow faster, as of a slider, are taken back as one
const WORDS = { undecided: "undecided", accepted: "accepted", corrected: "corrected", rejected: "rejected" };

let session;
let item = null;
let editor = null;
let touched = false; // the annotation was edited since it was shown
let past = []; // the annotation before each edit, as JSON
let latest = ""; // the annotation as it stands, as JSON
let editedAt = 0; // ms
let busy = false;
let draftTimer = 0;
let unsaved = false; // the last draft was refused, or did not arrive
let sending = Promise.resolve(); // requests that change something go one after the other

function mine(path) { // so that a page left open decides nothing in another review on the same port
  return session ? `${path}${path.includes("?") ? "&" : "?"}review=${session.review}` : path;
}

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(mine(path), options);
  } catch {
    throw new Error("Not saved: the server does not answer. Start the same command again; what is on this page stays.");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error ?? `The server said ${answer.status}.`);
  return said;
}

function tell(said) { // an Error is a problem, a string is only news
  $("problem").textContent = said ? said.message ?? said : "";
  $("problem").classList.toggle("news", !(said instanceof Error));
  $("problem").hidden = !said;
}

function sent() {
  const text = editor.text ?? null;
  return { annotation: text === null ? (touched ? editor.value : item.annotation) : null, text, rationale: $("rationale").value };
}

function annotated() {
  touched = true;
  const now = JSON.stringify(editor.value);
  if (now !== latest && Date.now() - editedAt > BURST) past.push(latest);
  latest = now;
  editedAt = Date.now();
  edited();
}

function takeBack() {
  if (!past.length) return tell("There is no edit to take back.");
  latest = past.pop();
  editor.show(JSON.parse(latest), item);
  touched = true;
  editedAt = 0;
  edited();
}

function edited() {
  if (busy) return; // the end of a drag that began before
  tell(null);
  word();
  clearTimeout(draftTimer);
  draftTimer = setTimeout(saveDraft, QUIET);
}

function saveDraft() {
  clearTimeout(draftTimer);
  draftTimer = 0;
  const { index } = item;
  const body = { action: "draft", ...sent() };
  sending = sending.then(() => ask(`api/items/${index}`, body)).then(counted).then(
    () => { unsaved = false; },
    (error) => { unsaved = true; tell(error); },
  );
  return sending;
}

function hold(held) { // nothing can be edited while what is shown may change
  busy = held;
  if (held) hold.focused = document.activeElement?.closest(".panel") ? document.activeElement : null;
  for (const part of document.querySelectorAll("main > section")) part.inert = held;
  if (!held && hold.focused) {
    if (hold.focused.isConnected && document.activeElement === document.body) hold.focused.focus();
    hold.focused = null;
  }
}

function leavePanel() { // so that the next key is a shortcut, and no edit of the next item
  hold.focused?.blur();
  hold.focused = null;
}

function counted({ item: now, counts }) {
  session.counts = counts;
  if (now && item && now.index === item.index) showState(now);
  showCounts();
}

async function decide(action) {
  if (busy || !item) return;
  hold(true);
  clearTimeout(draftTimer);
  draftTimer = 0;
  tell(null);
  const { index } = item;
  const body = { action, ...sent() };
  try {
    await sending;
    const answer = await ask(`api/items/${index}`, body);
    counted(answer);
    unsaved = false;
    if (action !== "undo") leavePanel();
    if (action === "undo") show(answer.item);
    else if (!(await go(1, undefined, false))) {
      show(answer.item);
      tell(ended());
    }
  } catch (error) {
    tell(error);
  } finally {
    hold(false);
  }
}

function ended() {
  const left = session.counts.undecided;
  if (!left) return "Everything is decided: Finish (f) writes the dataset.";
  return `That was the last one. ${left} ${left === 1 ? "is" : "are"} still undecided (n).`;
}

// False where there is no such item, null where an edit of this one could not be kept.
async function go(step, state = $("filter").value, keep = true, start = item.index) {
  await sending;
  if (keep && (draftTimer || unsaved)) await saveDraft();
  if (keep && unsaved) return null;
  const { index } = await ask(`api/next?start=${start}&step=${step}&state=${state}`);
  if (index === null) return false;
  await open(index);
  return true;
}

async function move(step, state = $("filter").value, around = false) {
  if (busy) return;
  hold(true);
  tell(null);
  try {
    const { index } = item;
    let found = await go(step, state);
    if (found === false && around) found = (await go(step, state, true, -1)) && item.index !== index;
    const where = around ? "other" : step > 0 ? "later" : "earlier";
    if (found === false) tell(`There is no ${where} item${state === "any" ? "" : ` that is ${state}`}.`);
  } catch (error) {
    tell(error);
  } finally {
    hold(false);
  }
}

async function open(index) {
  const next = await ask(`api/items/${index}`);
  leavePanel();
  show(next);
  // Nobody should accept what is not there to be seen yet.
  await Promise.race([$("picture").decode().catch(() => null), new Promise((done) => setTimeout(done, 10000))]);
  if (index + 1 < session.total) new Image().src = `pictures/${index + 1}/0`; // so that the server has it ready at the next key
}

function show(next) {
  const same = item && item.index === next.index;
  const stood = latest;
  item = next;
  touched = unsaved = false;
  editedAt = 0; // an edit of the last item and one of this are two, however fast
  clearTimeout(draftTimer);
  draftTimer = 0;
  if (!same) showPicture(item);
  $("place").textContent = [`${item.index + 1} of ${session.total}`, item.split, item.id].filter(Boolean).join(" · ");
  $("question").textContent = item.question ?? "";
  $("hints").replaceChildren(...hints(item.hints).map(([text, doubt]) => element("li", { className: doubt ? "doubt" : "" }, text)));
  editor.show(item.annotation, item);
  latest = JSON.stringify(editor.value);
  if (!same) past = [];
  else if (latest !== stood) past.push(stood);
  $("rationale").value = item.rationale;
  showState(item);
  if (!same) for (const part of [document.scrollingElement, document.querySelector(".panel")]) part.scrollTop = 0;
  document.title = `${item.index + 1}/${session.total} · rise review`;
  document.body.dataset.index = item.index;
}

function hints(said) {
  const shown = [];
  const percent = (value) => `${Math.round(value * 100)} %`;
  if (said.reason) shown.push([`no answer: ${said.reason}`, true]);
  if (said.review === true) shown.push(["marked for review", true]);
  if (typeof said.confidence === "number") shown.push([`confidence ${percent(said.confidence)}`]);
  if (typeof said.reconstruction === "number") shown.push([`rationale leads back ${percent(said.reconstruction)}`]);
  if (Array.isArray(said.leaks) && said.leaks.length) shown.push([`leaks: ${said.leaks.join("; ")}`, true]);
  return shown;
}

function showState(now) {
  $("state").textContent = WORDS[now.state];
  $("state").className = `state ${now.state}`;
  document.body.dataset.state = now.state;
  word();
}

function sorted(annotation) { // JSON in which the order of keys says nothing
  return JSON.stringify(annotation, (_, part) =>
    part && typeof part === "object" && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort()) : part);
}

function word() {
  const now = touched ? editor.value : item.annotation;
  const same = sorted(now) === sorted(item.original.annotation) && (editor.text === undefined || (!touched && item.text === null));
  $("accept-word").textContent = same && $("rationale").value === item.original.rationale ? "Accept" : "Accept edits";
}

function showCounts() {
  const { counts, total } = session;
  const done = total - counts.undecided;
  for (const state of ["accepted", "corrected", "rejected"]) $("meter").querySelector(`.${state}`).style.width = `${(100 * counts[state]) / total}%`;
  $("meter").setAttribute("aria-valuenow", done);
  $("meter").setAttribute("aria-valuemax", total);
  $("counts").textContent = `${done} of ${total} reviewed`;
  $("counts").title = `${counts.accepted} accepted, ${counts.corrected} corrected, ${counts.rejected} rejected, ${counts.undecided} undecided`;
}

function openFinish() {
  const { accepted, corrected, rejected, undecided } = session.counts;
  $("finish-counts").textContent = `${accepted} accepted, ${corrected} corrected, ${rejected} rejected. To ${session.out}`;
  $("undecided-legend").textContent = `${undecided} undecided`;
  $("undecided-choice").hidden = !undecided;
  // A model's answers are no truth before someone has looked; a dataset's annotations are.
  const usual = session.model === null ? "keep" : "leave out";
  document.querySelector(`input[name=undecided][value="${usual}"]`).checked = true;
  $("finish-result").textContent = "";
  $("finish").showModal();
}

async function write() {
  const undecided = document.querySelector("input[name=undecided]:checked").value;
  const result = $("finish-result");
  $("write").disabled = true;
  result.className = "";
  result.textContent = "Writing ...";
  try {
    if (draftTimer) await saveDraft();
    await sending;
    const { out, splits, left_out: left, edited: half } = await ask("api/finish", { undecided });
    const told = Object.entries(splits).map(([name, count]) => `${name} ${count}`).join(", ");
    const lost = left.length ? `\n${left.length} could not be written: ${left.slice(0, 3).join("; ")}` : "";
    const open = half ? `\nEdits of ${half} undecided are not in it: accept them first.` : "";
    result.textContent = `Written: ${out} (${told}).${lost}${open}\nTo train on it: rise run rise data=${out}`;
  } catch (error) {
    result.className = "bad";
    result.textContent = error.message;
  } finally {
    $("write").disabled = false;
  }
}

const KEYS = {
  a: () => decide("accept"),
  Enter: () => decide("accept"),
  x: () => decide("reject"),
  u: () => decide("undo"),
  j: () => move(1),
  k: () => move(-1),
  ArrowRight: () => move(1),
  ArrowLeft: () => move(-1),
  n: () => move(1, "undecided", true),
  e: () => $("rationale").focus(),
  f: openFinish,
  "?": () => $("help").showModal(),
};

function typing(target) {
  return target.matches("textarea, input[type=number], input[type=search], select");
}

function pressed(event) {
  if (busy || event.isComposing || document.querySelector("dialog[open]")) return;
  const { target } = event;
  if (typing(target)) {
    if (event.key === "Escape") target.blur();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey || target.type === "number")) decide("accept");
    return;
  }
  if ((event.ctrlKey || event.metaKey) && event.key === "z") {
    event.preventDefault();
    takeBack();
    return;
  }
  if (event.ctrlKey || event.metaKey || (event.key === "Enter" && target.closest("button"))) return;
  if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  if (digit && !event.altKey) {
    const taken = !busy && editor.digit((Number(digit[1]) + 9) % 10);
    if (taken) event.preventDefault();
    if (taken && event.shiftKey && !event.repeat && session.task === "classification") decide("accept");
    return;
  }
  if (editor.keys(event)) {
    event.preventDefault();
    return;
  }
  const action = event.altKey ? null : KEYS[event.key];
  if (!action || event.repeat) return;
  event.preventDefault();
  action();
}

async function start() {
  session = await ask("api/session");
  $("name").textContent = session.name;
  $("task").textContent = session.model ? `${session.task} · answers of ${session.model.split("/").pop()}` : session.task;
  editor = makeEditor(session.task, $("editor"), {
    classes: session.classes, changed: annotated, frame: $("frame"), overlay: $("overlay"),
  });
  showCounts();
  watchPicture(ask);
  $("rationale").addEventListener("input", edited);
  for (const [id, action] of [["accept", "accept"], ["reject", "reject"], ["undo", "undo"]]) {
    $(id).addEventListener("click", () => decide(action));
  }
  $("next").addEventListener("click", () => move(1));
  $("previous").addEventListener("click", () => move(-1));
  $("open-help").addEventListener("click", () => $("help").showModal());
  $("open-finish").addEventListener("click", openFinish);
  $("close-finish").addEventListener("click", () => $("finish").close());
  $("write").addEventListener("click", write);
  $("filter").addEventListener("change", ({ target }) => {
    target.blur();
    if (![document.body.dataset.state, "any"].includes(target.value)) move(1, target.value, true);
  });
  addEventListener("keydown", pressed);
  addEventListener("pagehide", () => draftTimer && navigator.sendBeacon(mine(`api/items/${item.index}`), draftBlob()));
  await open(session.start);
  document.body.dataset.ready = "yes";
}

function draftBlob() {
  return new Blob([JSON.stringify({ action: "draft", ...sent() })], { type: "application/json" });
}

start().catch(tell);
