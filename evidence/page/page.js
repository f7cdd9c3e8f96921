/* What a page shows is held against the document in it, the document against the entries that its proof carries, and
   the entries against the signed checkpoint. Docs: docs/format.md, Pages. Nothing is fetched. */
"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const utf8 = new TextEncoder(), text = new TextDecoder("utf-8", {fatal: true});
const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const joined = (...parts) => {
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
};
class Wrong extends Error { constructor(message, index) { super(message); this.index = index; } }
const need = (holds, message, index) => { if (!holds) throw new Wrong(message, index); };
const same = (a, b) => a.length === b.length && a.every((byte, n) => byte === b[n]);

/* --- the tree: RFC 6962, and the multi-proof of docs/format.md --- */
const LEAF = Uint8Array.of(0), NODE = Uint8Array.of(1);
const leafHash = (entry) => noble.sha256(joined(LEAF, entry));
const nodeHash = (left, right) => noble.sha256(joined(NODE, left, right));
const split = (size) => { let k = 1; while (k * 2 < size) k *= 2; return k; };
const rootOf = (leaves, hashes, from, to, first, end) => {
  if (from === to) { need(hashes.length, "the proof has too few hashes"); return hashes.shift(); }
  if (end - first === 1) return leaves[from].leaf;
  const middle = first + split(end - first);
  let cut = from;
  while (cut < to && leaves[cut].index < middle) cut += 1;
  const left = rootOf(leaves, hashes, from, cut, first, middle);
  return nodeHash(left, rootOf(leaves, hashes, cut, to, middle, end));
};
const checkConsistency = (old, size, root) => {
  if (old.size === size) { need(same(old.root, root), "two roots for one size: the log has forked"); return; }
  need(old.size > 0 && old.size < size, "the checkpoint the document names is of no earlier tree");
  let node = old.size - 1, last = size - 1;
  const path = [...old.path];
  while (node % 2) { node = (node - 1) / 2; last = Math.floor(last / 2); }
  const seed = Number.isInteger(Math.log2(old.size)) ? old.root : path.shift();
  need(seed, "the consistency proof is too short");
  let was = seed, is = seed;
  for (const sibling of path) {
    need(last > 0, "the consistency proof is too long");
    if (node % 2 || node === last) {
      was = nodeHash(sibling, was); is = nodeHash(sibling, is);
      while (node && node % 2 === 0) { node /= 2; last = Math.floor(last / 2); }
    } else { is = nodeHash(is, sibling); }
    node = Math.floor(node / 2); last = Math.floor(last / 2);
  }
  need(last === 0 && same(was, old.root) && same(is, root), "the log did not grow from the checkpoint named");
};

/* --- the proof and its checkpoint --- */
const parseProof = (raw) => {
  const cut = raw.indexOf("\n\n");
  need(cut > 0, "the proof has no checkpoint");
  const lines = raw.slice(0, cut).split("\n"), message = raw.slice(cut + 2), entries = [];
  need(lines.shift() === "run-evidence-ledger/multi-proof@v1", "the proof is of another form");
  const subject = lines.shift();
  let old = null;
  if (lines[0].startsWith("old ")) {
    const [, size, root] = lines.shift().split(" ");
    old = {size: Number(size), root: bytesOf(root), path: []};
    while (!lines[0].includes(" ") && lines[0] !== "hashes") old.path.push(bytesOf(lines.shift()));
  }
  while (lines.length && lines[0].startsWith("entry ")) {
    const line = lines.shift(), [, index, mark] = line.split(" ", 3);
    const entry = line.slice(`entry ${index} ${mark} `.length);
    entries.push({index: Number(index), mark, entry, leaf: leafHash(utf8.encode(entry))});
  }
  need(lines.shift() === "hashes", "the proof has no hashes");
  return {subject, old, entries, hashes: lines.map(bytesOf), message};
};
const parseCheckpoint = (message) => {
  const cut = message.indexOf("\n\n"), signed = cut < 0 ? message : message.slice(0, cut + 1);
  const [origin, size, root] = signed.split("\n");
  const signatures = cut < 0 ? [] : message.slice(cut + 2).split("\n").filter(Boolean).map((line) => line.split(" "));
  return {origin, size: Number(size), root: bytesOf(root), signed, signatures};
};
const checkEntries = (proof, checkpoint) => {
  need(proof.entries.length, "the proof has no entry");
  let before = -1;
  for (const {index, mark, leaf} of proof.entries) {
    need(index > before && index < checkpoint.size, `entry ${index} is not in its place`, index);
    need(hex(leaf).startsWith(mark), `entry ${index} was changed`, index);
    before = index;
  }
  const hashes = [...proof.hashes];
  const root = rootOf(proof.entries, hashes, 0, proof.entries.length, 0, checkpoint.size);
  need(!hashes.length && same(root, checkpoint.root), "the entries do not lead to the root of the checkpoint");
  if (proof.old) checkConsistency(proof.old, checkpoint.size, checkpoint.root);
};
const signedBy = (checkpoint, vkeys) => {
  for (const vkey of vkeys) {
    const [name, id] = vkey.split("+"), key = bytesOf(vkey.slice(name.length + id.length + 2));
    const own = noble.sha256(joined(utf8.encode(`${name}\n`), key)).slice(0, 4);
    need(key[0] === 1 && hex(own) === id, `${vkey} is no verifier key of Ed25519`);
    for (const [dash, signer, value] of checkpoint.signatures) {
      const signature = bytesOf(value);
      if (dash !== "—" || signer !== name || !same(signature.slice(0, 4), own)) continue;
      const good = noble.verify(signature.slice(4), utf8.encode(checkpoint.signed), key.slice(1));
      need(good, `the signature of the checkpoint by ${name} is wrong`);
      return vkey;
    }
  }
  return null;
};

/* --- the document against the entries --- */
const COLUMNS = ["event_type", "store_id", "run_id", "storage_id", "job_name", "step_key", "attempt", "asset_key",
  "partition", "check_name", "trace_id", "release_id", "batch_id", "outcome", "reason_code", "occurred_at", "recorded_at"];
const DERIVED = ["asset_key", "partition", "check_name", "kind", "required", "outcome", "verdict", "reason_code", "reason",
  "attempts", "step_key"];
const moment = (us) => {
  const seconds = Math.floor(us / 1e6);
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(us - seconds * 1e6).padStart(6, "0")}Z`;
};
const objectsIn = function* (value, path) {
  if (Array.isArray(value)) { for (const [n, each] of value.entries()) yield* objectsIn(each, `${path}.${n}`); return; }
  if (value === null || typeof value !== "object") return;
  yield [path, value];
  for (const [name, each] of Object.entries(value)) yield* objectsIn(each, path ? `${path}.${name}` : name);
};
const derivations = (events) => {
  const parts = events.filter(({event}) => event.event_type === "outcomes.derived.v1"), newest = {};
  for (const {event} of parts) newest[event.run_id] = Math.max(newest[event.run_id] || 0, event.data.revision || 0);
  return parts.filter(({event}) => (event.data.revision || 0) === newest[event.run_id])
    .flatMap(({index, event}) => (event.data.outcomes || []).map((outcome) => ({index, outcome})));
};
const compare = (page, events) => {
  const at = new Map(events.map(({index, event}) => [index, event])), derived = new Map();
  const named = (outcome) => JSON.stringify(DERIVED.map((name) => outcome[name] ?? null));
  for (const {index, outcome} of derivations(events)) derived.set(named(outcome), index);
  let compared = 0;
  for (const [path, item] of objectsIn(page, "")) {
    if (Number.isInteger(item.entry)) {
      const found = at.get(item.entry);
      need(found, `${path} rests on an entry that is not proved`, item.entry);
      for (const name of COLUMNS.filter((each) => each in item)) {
        const says = found[name] ?? null, spelled = name.endsWith("_at") && says !== null ? moment(says) : says;
        need(item[name] === spelled || item[name] === says,
          `${path}.${name} is ${JSON.stringify(item[name])}, the entry says ${JSON.stringify(spelled)}`, item.entry);
      }
      compared += 1;
    }
    if (Array.isArray(item.basis)) {
      need(derived.has(named(item)), `${path} (${item.name}) is not what an entry says became of it`,
        item.basis[0] && item.basis[0].entry);
      compared += 1;
    }
  }
  for (const [n, part] of (page.parts || []).entries()) {
    const counts = {};
    for (const place of part.items) {
      const item = page.items[place];
      if (!item.planned) continue;
      const heading = item.outcome === "canceled" && !item.attempts ? "never_ran" : COUNTED_AS[item.outcome];
      counts[heading] = (counts[heading] || 0) + 1;
    }
    const names = new Set([...Object.keys(counts), ...Object.keys(part.counts)]);
    for (const name of names) need(counts[name] === part.counts[name], `parts.${n}: ${name} are ${counts[name] || 0} of its items`);
  }
  for (const [n, item] of (page.items || []).entries()) need(LETTERS[item.verdict] === item.letter, `items.${n}: another letter`);
  return compared;
};

/* --- what is shown against the document --- */
const linesOf = (node, lines) => {
  if (node.nodeType === Node.TEXT_NODE) { lines.push(JSON.stringify(node.data)); return; }
  if (node.nodeType !== Node.ELEMENT_NODE) { lines.push("?"); return; }
  if (node.id === "seal") return;
  const attributes = Array.from(node.attributes, ({name, value}) => [name.toLowerCase(), value]).sort((a, b) => (a[0] < b[0] ? -1 : 1));
  lines.push(JSON.stringify([node.localName.toLowerCase(), attributes]));
  for (const child of node.childNodes) linesOf(child, lines);
  lines.push("[]");
};
const valueAt = (page, path) => path.split(".").reduce((value, name) => (value === null || value === undefined ? value : value[name]), page);
const visible = (value) => String(value ?? "").replace(/[^\P{C}]|[\p{Zl}\p{Zp}]/gu, "");
const firstDifference = (page) => {
  for (const node of document.querySelectorAll("#page [data-p]")) {
    const path = node.dataset.p, wanted = valueAt(page, path), shows = node.textContent;
    if (shows !== String(wanted ?? "") && visible(shows) !== visible(wanted)) {
      const row = node.closest("tr"), link = row && row.querySelector("[data-entry]");
      const index = link ? Number(link.dataset.entry) : page.provenance.last_index;
      return [`it shows ${JSON.stringify(shows.slice(0, 80))} where the document has ${JSON.stringify(String(wanted).slice(0, 80))} (${path})`, index];
    }
  }
  for (const link of document.querySelectorAll("#page [data-entry]"))
    if (link.textContent !== link.dataset.entry) return ["it shows another number of an entry", Number(link.dataset.entry)];
  return ["something in it that is no value was changed: a heading, a drawing, a link", page.provenance.last_index];
};

const inflate = async (id) => {
  const stream = new Blob([bytesOf($(id).textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};
const verify = async (shown) => {
  const [document_, raw] = await Promise.all([inflate("document"), inflate("proof")]);
  const proof = parseProof(text.decode(raw)), checkpoint = parseCheckpoint(proof.message);
  checkEntries(proof, checkpoint);
  const events = proof.entries.map(({index, entry}) => ({index, event: JSON.parse(entry)}));
  const digest = hex(noble.sha256(document_));
  need(proof.subject === `document ${digest}`, "the document in the page was changed, or the proof is of another");
  const record = events.find(({event}) => event.event_type === "document.derived.v1"
    && (event.data.documents || []).some((each) => each.sha256 === digest));
  need(record, "the log has not recorded this document");
  const page = JSON.parse(text.decode(document_)), named = page.provenance.checkpoint;
  const at = proof.old || {size: checkpoint.size, root: checkpoint.root};
  need(named && named.origin === checkpoint.origin && named.size === at.size && named.root_sha256 === hex(at.root),
    "the document names another checkpoint than the one that is proved");
  const compared = compare(page, events);
  if (hex(noble.sha256(utf8.encode(shown))) !== page.drawn.main_sha256) { const [what, index] = firstDifference(page); throw new Wrong(what, index); }
  return {page, proof, checkpoint, compared, signer: signedBy(checkpoint, page.keys)};
};

/* --- telling it, and leading from a number to its entry --- */
const tell = (kind, title, ...lines) => {
  const box = $("seal"), paragraphs = [document.createElement("p")];
  const strong = document.createElement("strong");
  strong.textContent = title;
  paragraphs[0].append(strong);
  for (const line of lines) {
    const p = document.createElement("p");
    if (Array.isArray(line)) { const code = document.createElement("code"); code.textContent = line[0]; p.append(code); } else p.textContent = line;
    paragraphs.push(p);
  }
  box.replaceChildren(...paragraphs);
  box.className = kind;
  box.dataset.state = kind;
};
const entriesOf = new Map();
const open = (index) => {
  const entry = entriesOf.get(index);
  $("entry-where").textContent = entry ? `Entry ${index}, its bytes as they were hashed` : `Entry ${index} is not in this page's proof; ledger prove has it`;
  $("entry-text").textContent = entry || "";
  $("entry").showModal();
};
const row = (page, n) => {
  const item = (page.items || page.runs)[n], tr = document.createElement("tr");
  const cells = page.items ? [`${item.letter} ${item.outcome}`, item.name, item.why]
    : [`${item.letter} ${item.verdict}`, item.started_at, item.run.slice(0, 8), item.job_name, item.partition, item.dagster_status, item.items, item.reason];
  for (const value of cells) { const td = document.createElement("td"); td.textContent = value; tr.append(td); }
  if (!page.items) return tr;
  const td = document.createElement("td");
  td.className = "n";
  for (const {entry: index} of item.basis || item.so_far || []) {
    const a = document.createElement("a");
    a.href = `#e${index}`; a.dataset.entry = index; a.textContent = index;
    td.append(a, " ");
  }
  tr.append(td);
  return tr;
};
const readCell = (page, event) => {
  const box = $("states").getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left) / PITCH), line = Math.floor((event.clientY - box.top - 18) / PITCH);
  const letter = (page.map.letters[line] || "")[column];
  if (!letter) return;
  $("cell").textContent = `${page.map.assets[line]} [${page.map.partitions[column]}]: ${letter === " " ? "never planned" : MEANINGS[letter]}`;
};
const filter = (words) => {
  const wanted = words.toLowerCase();
  for (const tr of $("items").tBodies[0].rows) tr.hidden = Boolean(wanted) && !tr.textContent.toLowerCase().includes(wanted);
};
const follow = () => {
  const fragment = decodeURIComponent(location.hash.slice(1));
  if (/^e[0-9]+$/.test(fragment)) open(Number(fragment.slice(1)));
  else if (fragment.startsWith("filter=")) { $("filter").value = fragment.slice(7); filter($("filter").value); }
};
$("entry-close").addEventListener("click", () => $("entry").close());
$("entry").addEventListener("close", () => { if (/^#e[0-9]+$/.test(location.hash)) history.replaceState(null, "", location.pathname + location.search); });
$("filter").addEventListener("input", (event) => { filter(event.target.value); history.replaceState(null, "", `#filter=${encodeURIComponent(event.target.value)}`); });
document.addEventListener("click", (event) => { const link = event.target.closest("[data-entry]"); if (link) { event.preventDefault(); open(Number(link.dataset.entry)); } });
addEventListener("hashchange", follow);

if ($("page").dataset.live) { follow(); return; }
const lines = [];
linesOf($("page"), lines);
tell("amber", "Verifying…");
verify(lines.join("\n")).then(({page, proof, checkpoint, compared, signer}) => {
  for (const {index, entry} of proof.entries) entriesOf.set(index, entry);
  const where = `log ${checkpoint.origin} at ${checkpoint.size} entries`;
  const all = compared
    ? `All ${proof.entries.length} entries that this page rests on are in ${where}, and ${compared} statements agree with them.`
    : `Entry ${proof.entries[0].index} of ${where} records this page as it is.`;
  if (signer) tell("good", "✓ Verified", all, `Signed by key ${signer.split("+")[1]}. Compare it with the key you were given:`, [signer]);
  else tell("amber", "✓ Unchanged, and not signed", all, "Nobody signed the checkpoint, so whoever made this page could have made all of it. Compare its root with one you kept:", [hex(checkpoint.root)]);
  const all_ = page.items || page.runs, missing = all_.length - $("items").tBodies[0].rows.length;
  if (missing > 0) {
    $("more").hidden = false;
    $("more").addEventListener("click", () => { $("items").tBodies[0].replaceChildren(...all_.map((_, n) => row(page, n))); $("more").hidden = true; filter($("filter").value); });
  }
  if ($("states")) $("states").addEventListener("click", (event) => readCell(page, event));
  follow();
}).catch((error) => {
  const where = error.index === undefined || error.index === null ? "" : `Entry ${error.index}: `;
  tell("bad", "✗ NOT VERIFIED", `${where}${error instanceof Wrong ? error.message : `the page is damaged: ${error.message}`}.`, "Do not rest anything on it. Ask for it again from where it came.");
  $("seal").dataset.entry = error.index ?? "";
});
})();
