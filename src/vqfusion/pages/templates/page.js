"use strict";
// The page: what is dropped is sent to a function of this server, and what comes back is shown. No other host is asked.

const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const { dataset, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset ?? {});
  made.append(...children);
  return made;
};
const LEVELS = { weak: "10/255", medium: "25/255", strong: "50/255" };
const state = { table: null, words: {}, language: "en", given: null, task: null, job: null, abort: null };

const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token");
if (token) {
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname); // so that it is in no bookmark
}
const ask = (path, options = {}) =>
  fetch(path, { ...options, headers: { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...options.headers } });

function say(word, values = {}) {
  const text = state.words[state.language]?.[word] ?? state.words.en?.[word] ?? word;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
const titleOf = (task) => state.words[state.language]?.[`task:${task.name}`] ?? task.name;
const aboutOf = (task) => state.words[state.language]?.[`about:${task.name}`] ?? task.about;

function speak(language) {
  state.language = language;
  localStorage.setItem("language", language);
  document.documentElement.lang = language;
  $("language").value = language;
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = say(one.dataset.word);
  if (state.given) offer();
  if (state.trainings) listTrainings(JSON.parse(state.trainings));
}

// ---- what is given

function kindsOf(name) {
  const rows = Object.entries(state.table.modalities);
  return rows.filter(([, row]) => row.suffixes.some((end) => name.toLowerCase().endsWith(end))).map(([kind]) => kind);
}

function give(given) {
  if (state.given?.url) URL.revokeObjectURL(state.given.url);
  $("result").hidden = true;
  $("error").textContent = $("status").textContent = "";
  const kinds = given.text === undefined ? kindsOf(given.file.name) : ["text"];
  const files = (given.files ?? (given.file ? [given.file] : [])).filter((file) => kindsOf(file.name).some((kind) => kinds.includes(kind)));
  state.given = { ...given, kinds, files, name: given.text ?? given.file.name };
  if (!kinds.length) {
    const known = Object.values(state.table.modalities).flatMap((row) => row.suffixes);
    $("given").textContent = say("unknown", { name: state.given.name, kinds: [...new Set(known)].join(" ") });
    $("choose").hidden = $("same").hidden = true;
    state.given = null;
    return;
  }
  if (given.file) state.given.url = URL.createObjectURL(given.file);
  state.task = null;
  offer();
}

function offer() {
  const count = state.given.files.length;
  $("given").textContent = count > 1 ? say("given_many", { name: state.given.name, count: count - 1 }) : say("given", { name: state.given.name });
  const fitting = state.table.functions.filter((one) => one.accepts.some((kind) => state.given.kinds.includes(kind)));
  const ready = (task) => 2 * task.restores - task.files.length; // what restores comes first, and what needs no other file
  fitting.sort((a, b) => ready(b) - ready(a));
  const chosen = fitting.find((one) => one.name === state.task?.name) ?? fitting[0];
  $("tasks").replaceChildren(...fitting.map((task) => {
    const radio = make("input", { type: "radio", name: "task", value: task.name, checked: task === chosen });
    radio.addEventListener("change", () => choose(task));
    return make("label", {}, radio, make("span", {}, make("b", { textContent: titleOf(task) }), make("small", { textContent: aboutOf(task) })));
  }));
  $("choose").hidden = false;
  choose(chosen);
}

// ---- options

function choose(task) {
  state.task = task;
  const easy = [], all = [];
  const properties = Object.entries(task.schema.properties).filter(([name]) => name !== "input" && name !== task.slots);
  for (const [name, schema] of properties) {
    const needed = task.schema.required.includes(name);
    (needed || task.files.includes(name) || ["language", "speaker", "style", "scale", "samples"].includes(name) ? easy : all).push(field(name, schema, task, needed));
  }
  if (task.schema.properties.sigma && picturesOnly()) {
    const select = make("select", { id: "strength" }, ...["auto", ...Object.keys(LEVELS)].map((word) => make("option", { value: LEVELS[word] ?? "", textContent: say(word) })));
    select.addEventListener("change", () => { $("option-sigma").value = select.value; lines(); });
    if (task.name === "denoise") easy.unshift(make("label", { htmlFor: "strength", textContent: say("strength") }, select));
  }
  if (task.schema.properties.interval) {
    const box = make("input", { type: "checkbox", id: "bars" });
    box.addEventListener("change", () => { $("option-interval").value = box.checked ? "0.9" : ""; lines(); });
    const row = state.table.modalities[state.given.kinds[0]];
    box.checked = Boolean(task.schema.properties.mask) && row.rank === 1 && !row.heard; // what fills the gaps of a series is uncertain
    easy.push(make("label", { htmlFor: "bars" }, box, ` ${say("bars")}`));
  }
  $("easy").replaceChildren(...easy);
  $("options").replaceChildren(...all);
  if ($("bars")?.checked) $("option-interval").value = "0.9";
  lines();
}
const picturesOnly = () => state.given.kinds.every((kind) => state.table.modalities[kind].pictured);

function field(name, schema, task, needed) {
  const id = `option-${name}`;
  const kinds = (schema.anyOf ?? [schema]).map((one) => one.type);
  let input;
  if (task.files.includes(name)) input = make("input", { id, type: "file" });
  else if (kinds.includes("boolean")) input = make("input", { id, type: "checkbox", checked: schema.default === true });
  else {
    const isNumber = !kinds.includes("string") && (kinds.includes("integer") || kinds.includes("number"));
    input = make("input", { id, type: isNumber ? "number" : "text", required: needed, autocomplete: "off", value: schema.default ?? "" });
    if (isNumber) input.step = kinds.includes("number") ? "any" : "1";
  }
  input.dataset.option = name;
  input.addEventListener("input", lines);
  const label = make("label", { htmlFor: id }, `${state.words[state.language]?.[`option:${name}`] ?? name.replaceAll("_", " ")} `, input);
  if (schema.description && state.language === "en") label.append(make("small", { textContent: schema.description }));
  return label;
}

function chosenOptions() {
  const values = {};
  for (const input of $("form").querySelectorAll("[data-option]")) {
    const name = input.dataset.option, schema = state.task.schema.properties[name];
    const value = input.type === "checkbox" ? input.checked : input.type === "file" ? input.files[0] : input.value.trim();
    if (value !== undefined && value !== "" && String(value) !== String(schema.default ?? (input.type === "checkbox" ? false : ""))) values[name] = value;
  }
  return values;
}

// ---- the same in other ways

const quoted = (text) => (/^[\w@%+=:,.\/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const inPython = (value) => (value === true ? "True" : value instanceof File ? JSON.stringify(value.name) : /^-?\d+(\.\d+)?$/.test(value) ? value : JSON.stringify(value));

function lines() {
  const { task, given } = state, options = chosenOptions();
  const kind = given.kinds.find((one) => task.accepts.includes(one));
  const written = given.text === undefined ? given.file.name : given.text;
  const end = { image: ".png", audio: ".wav" }[task.restores ? kind : task.gives] ?? (task.restores ? written.slice(written.indexOf(".")) : "");
  const flag = (name) => task.flags[name] ?? `--${name.replaceAll("_", "-")}`;
  const named = Object.entries(options).map(([name, value]) => [name, value instanceof File ? value.name : value]);
  const flags = named.map(([name, value]) => (value === true ? flag(name) : `${flag(name)} ${quoted(String(value))}`));
  $("shell").textContent = ["vqfusion", task.name, quoted(written), ...flags, end ? `-o ${quoted(task.name + end)}` : ""].filter(Boolean).join(" ");
  const sampling = ["samples", "seed", "steps"].filter((name) => options[name]).map((name) => `${name}=${options[name]}`);
  const own = Object.entries(options).filter(([name]) => !["samples", "seed", "steps", "model"].includes(name)).map(([name, value]) => `${name}=${inPython(value)}`);
  const sample = given.text === undefined ? `vqfusion.read(${JSON.stringify(written)}${task.restores ? ", keep=True" : ""})` : `vqfusion.Sample("text", ${JSON.stringify(written)})`;
  $("python").textContent = [
    "import vqfusion", "from vqfusion.tasks import TASKS", "",
    `model = vqfusion.load(${JSON.stringify(options.model ?? task.models[kind])})`,
    `answer = TASKS[${JSON.stringify(task.name)}](${own.join(", ")})(model, ${sample}${sampling.length ? `, vqfusion.Sampling(${sampling.join(", ")})` : ""})`,
    end ? `answer.samples[0][0].save(${JSON.stringify(task.name + end)})` : task.gives === "label" ? "print(answer.distributions[0])" : "print(answer.samples[0][0].data)",
  ].join("\n");
  const parts = [given.text === undefined ? `input=@${written}` : `input=${written}`];
  for (const [name, value] of Object.entries(options)) parts.push(value instanceof File ? `${name}=@${value.name}` : `${name}=${value}`);
  if (end) parts.push("response_format=file");
  $("http").textContent = ["curl", ...(token ? ['-H "Authorization: Bearer $VQFUSION_TOKEN"'] : []), ...parts.map((part) => `-F ${quoted(part)}`), `${location.origin}/v1/${task.name}`, end ? `-o ${quoted(task.name + end)}` : ""].filter(Boolean).join(" ");
  $("same").hidden = false;
}

// ---- work

async function run(event) {
  event.preventDefault();
  $("error").textContent = "";
  $("result").hidden = true;
  busy(true);
  state.abort = new AbortController();
  const many = state.given.files.length > 1, done = [];
  try {
    for (const given of state.given.text === undefined ? state.given.files : [state.given.text]) {
      try {
        done.push({ given, answer: await answered(given, done.length) });
      } catch (error) {
        if (!many || stopped(error) || error instanceof TypeError) throw error;
        done.push({ given, error: error.message }); // of several files, the others are worked on
      }
    }
  } catch (error) {
    $("status").textContent = stopped(error) ? say("cancelled") : "";
    if (!stopped(error)) $("error").textContent = error instanceof TypeError ? say("lost") : error.message;
  } finally {
    busy(false);
  }
  if (done.length) await show(done);
}

const stopped = (error) => error.name === "AbortError" || error.message === "cancelled";

async function answered(given, before) {
  const form = new FormData(), count = state.given.files.length;
  form.append("input", given);
  for (const [name, value] of Object.entries(chosenOptions())) form.append(name, value);
  form.append("stream", "true");
  form.append("preview", "true");
  const response = await ask(`v1/${state.task.name}`, { method: "POST", body: form, signal: state.abort.signal });
  if (!response.ok) throw new Error((await response.json()).error.message);
  for await (const [name, data] of events(response.body)) {
    if (name === "queued") { state.job = data.job; $("status").textContent = say("waiting", { count: data.waiting }); }
    if (name === "progress") {
      const fraction = count > 1 ? (before + data.fraction) / count : data.fraction;
      $("bar").value = fraction;
      $("status").textContent = say("working", { percent: Math.round(100 * fraction) });
    }
    if (name === "result") return data;
    if (name === "error") throw new Error(data.error.message);
  }
  throw new TypeError("lost");
}

function busy(is) {
  $("run").disabled = is;
  $("cancel").disabled = !is;
  $("bar").hidden = !is;
  $("bar").value = 0;
}

function cancel() {
  if (state.job) ask(`v1/jobs/${state.job}`, { method: "DELETE" }).catch(() => {});
  state.abort?.abort();
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const name = /^event: (.*)$/m.exec(part)?.[1], data = /^data: (.*)$/m.exec(part)?.[1];
      if (name) yield [name, JSON.parse(data)];
    }
  }
}

// ---- results

const SHOWN = ["png", "jpeg", "webp", "avif", "bmp", "gif"].map((form) => `image/${form}`); // by browsers

async function show(done) {
  const box = $("answer"), archive = [];
  box.replaceChildren();
  for (const { given, answer, error } of done) {
    const name = given.name ?? given;
    if (done.length > 1) box.append(make("h3", { textContent: name }));
    if (error) { box.append(make("p", { className: "warn", textContent: error })); continue; }
    for (const file of await resultInto(box, answer, given)) archive.push({ name: `${name.replace(/\.\w+$/, "")}-${file.name}`, data: file.blob });
    if (done.length > 1) for (const [k, text] of (answer.items[0].texts ?? []).entries()) archive.push({ name: `${name}${k ? `-${k + 1}` : ""}.txt`, data: new Blob([text]) });
  }
  if (done.length > 1 && archive.length) {
    const zip = zipOf(await Promise.all(archive.map(async ({ name, data }) => ({ name, bytes: new Uint8Array(await data.arrayBuffer()) }))));
    box.prepend(make("p", {}, make("a", { className: "button", id: "all", href: URL.createObjectURL(zip), download: "vqfusion.zip", textContent: say("download_all", { count: archive.length }) })));
  }
  $("result").hidden = false;
  const answers = done.filter((one) => one.answer).map((one) => one.answer);
  if (answers.length && !$("status").textContent.includes(say("cancelled"))) {
    $("status").textContent = say("finished", { seconds: answers.reduce((sum, one) => sum + Number(one.seconds), 0).toFixed(1), model: answers[0].model });
  }
  $("made").focus();
}

// puts an answer into a box; returns its files
async function resultInto(box, answer, given) {
  const item = answer.items[0], name = given.name ?? given, url = given instanceof File ? URL.createObjectURL(given) : null;
  const lines = [...new Set([...answer.warnings, ...item.warnings])];
  for (const line of lines) box.append(make("p", { className: "warn", textContent: line }));
  if (item.texts) for (const text of item.texts) box.append(make("p", { className: "texts", textContent: text }));
  if (item.distribution) box.append(...Object.entries(item.distribution).map(bar));
  const files = (item.outputs ?? []).map(withUrl);
  const pictured = files.filter((file) => SHOWN.includes(file.media_type));
  if (pictured.length) {
    const before = SHOWN.includes(given.type) ? url : null;
    for (const file of pictured) box.append(before ? await slider(before, file, pictured.length === 1 ? item : {}) : make("img", { src: file.url, alt: `${answer.task}: ${name}` }));
  } else if (files.length) {
    const pair = make("div", { className: "pair" });
    const heard = files[0].media_type.startsWith("audio/");
    if (heard && state.given.kinds.includes("audio")) pair.append(titled("before", await player(url, given, "before")));
    if (!heard && item.before) pair.append(titled("before", drawn(item.before)));
    for (const [i, file] of files.entries()) pair.append(titled("after", heard ? await player(file.url, file.blob, "after") : drawn(item.after[i])));
    box.append(pair);
  }
  if (item.measured_coverage) box.append(make("p", { className: "about", textContent: say("coverage", { coverage: 100 * item.coverage, where: item.measured_on, measured: (100 * item.measured_coverage).toFixed(1) }) }));
  const all = [...files, ...[item.lower, item.upper].filter(Boolean).map(withUrl)];
  for (const file of all) box.append(make("a", { className: "button", href: file.url, download: file.name, textContent: say("download", { name: file.name }) }));
  return all;
}

const blobOf = (file) => new Blob([Uint8Array.from(atob(file.base64), (c) => c.charCodeAt(0))], { type: file.media_type });
const urlOf = (file) => URL.createObjectURL(blobOf(file));
const withUrl = (file) => { const blob = blobOf(file); return { ...file, blob, url: URL.createObjectURL(blob) }; };
const titled = (word, part) => make("div", {}, make("h3", { textContent: say(word) }), part);
async function player(url, blob, word) {
  const made = make("audio", { src: url, controls: true });
  made.setAttribute("aria-label", say(word));
  return make("div", {}, made, await spectrogramOf(blob, say("spectrogram")));
}
const drawn = (html) => make("div", { className: "shown", innerHTML: html }); // made by this server, with names escaped

function bar([name, p]) {
  const made = make("div", { className: "bar" }, make("span", { textContent: name }), make("span", { textContent: `${(100 * p).toFixed(1)} %` }));
  made.style.setProperty("--p", `${100 * p}%`);
  return made;
}

const loaded = (url) => new Promise((done, failed) => { const image = new Image(); image.onload = () => done(image); image.onerror = failed; image.src = url; });

function pixels(image) {
  const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

async function slider(before, file, item) {
  const after = await loaded(file.url);
  const over = make("img", { className: "over", src: before, alt: say("before") });
  after.alt = say("after");
  const compare = make("div", { className: `compare${after.naturalWidth < 400 ? " detail" : ""}` }, after, over);
  const range = make("input", { type: "range", className: "slide", min: 0, max: 100, value: 50 });
  range.setAttribute("aria-label", say("slider"));
  const move = () => compare.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", move);
  move();
  const zoom = make("input", { type: "range", min: 1, max: 8, step: 0.5, value: 1, className: "zoom" });
  zoom.setAttribute("aria-label", say("zoom"));
  const frame = make("div", { className: "frame", tabIndex: 0 }, compare);
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", say("slider"));
  zoom.addEventListener("input", () => {
    const middle = [(frame.scrollLeft + frame.clientWidth / 2) / frame.scrollWidth, (frame.scrollTop + frame.clientHeight / 2) / frame.scrollHeight];
    frame.classList.toggle("zoomed", zoom.value > 1);
    compare.style.setProperty("--zoom", zoom.value);
    frame.scrollTo(middle[0] * frame.scrollWidth - frame.clientWidth / 2, middle[1] * frame.scrollHeight - frame.clientHeight / 2);
  });
  const box = make("div", {}, frame, range, make("label", { className: "line" }, say("zoom"), zoom));
  if (item.lower && item.upper) {
    const [lower, middle, upper] = await Promise.all([item.lower, file, item.upper].map(async (one) => pixels(await loaded(urlOf(one)))));
    const map = uncertainty(lower, upper), shown = make("input", { type: "checkbox", id: "uncertain" });
    map.hidden = true;
    shown.addEventListener("change", () => { map.hidden = !shown.checked; });
    compare.append(map);
    const under = make("p", { className: "about", textContent: " " });
    compare.addEventListener("pointermove", (event) => {
      const place = compare.getBoundingClientRect();
      const x = Math.floor((event.clientX - place.left) / place.width * middle.width), y = Math.floor((event.clientY - place.top) / place.height * middle.height);
      const at = 4 * (Math.min(Math.max(y, 0), middle.height - 1) * middle.width + Math.min(Math.max(x, 0), middle.width - 1));
      const mean = (image) => ((image.data[at] + image.data[at + 1] + image.data[at + 2]) / 765).toFixed(3);
      under.textContent = say("value", { value: mean(middle), lower: mean(lower), upper: mean(upper) });
    });
    box.append(make("label", { htmlFor: "uncertain" }, shown, ` ${say("uncertain")}`), under);
  }
  return box;
}

function uncertainty(lower, upper) {
  const canvas = make("canvas", { width: lower.width, height: lower.height }), context = canvas.getContext("2d");
  const image = context.createImageData(lower.width, lower.height);
  const widths = Float32Array.from({ length: lower.data.length / 4 }, (_, i) => [0, 1, 2].reduce((sum, c) => sum + upper.data[4 * i + c] - lower.data[4 * i + c], 0));
  const most = widths.reduce((a, b) => Math.max(a, b), 1);
  widths.forEach((width, i) => image.data.set([255, 90, 0, 230 * width / most], 4 * i));
  context.putImageData(image, 0, 0);
  return canvas;
}

// ---- trainings, which are only looked at

const AGAIN_MS = 15000;
let watching = null;

function listTrainings(rows) {
  const label = (row) => say("run_step", { state: say(`run_${row.state}`), step: row.step.toLocaleString("en"), steps: row.steps.toLocaleString("en") });
  $("trainings").hidden = !rows.length;
  $("runs").replaceChildren(...rows.map((row) => {
    const radio = make("input", { type: "radio", name: "training", value: row.name, checked: row.name === watching });
    radio.addEventListener("change", () => { watching = row.name; look(); });
    return make("label", {}, radio, make("span", {}, make("b", { textContent: row.name }), make("small", { textContent: label(row) })));
  }));
}

async function look() {
  try {
    const list = (await (await ask("v1/trainings")).json()).trainings;
    const shown = watching === null ? null : await (await ask(`v1/trainings/${encodeURIComponent(watching)}`)).json();
    if (JSON.stringify(list) !== state.trainings) listTrainings(list);
    state.trainings = JSON.stringify(list);
    if (shown?.html) $("training").replaceChildren(drawn(shown.html));
    clearTimeout(state.again);
    if (list.some((row) => row.state === "training")) state.again = setTimeout(look, AGAIN_MS);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // a server that has ended is told where it is asked for work
  }
}

// files that the server was started with are given already
async function opened() {
  const { files } = await (await ask("v1/opened")).json();
  return Promise.all(files.map(async (name, i) => {
    const blob = await (await ask(`v1/opened/${i}`)).blob();
    return new File([blob], name, { type: blob.type });
  }));
}

// ---- begin

async function begin() {
  $("language").addEventListener("change", () => speak($("language").value));
  const giveAll = (files) => files[0] && give({ file: files[0], files: [...files] });
  $("file").addEventListener("change", () => giveAll($("file").files));
  const useText = () => $("text").value.trim() && give({ text: $("text").value.trim() });
  $("use").addEventListener("click", useText);
  $("text").addEventListener("keydown", (event) => event.key === "Enter" && useText());
  $("form").addEventListener("submit", run);
  $("cancel").addEventListener("click", cancel);
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText($(button.dataset.of).textContent);
      button.textContent = say("copied");
      setTimeout(() => { button.textContent = say("copy"); }, 1500);
    });
  }
  const over = (is) => (event) => { event.preventDefault(); $("drop").classList.toggle("over", is); };
  document.addEventListener("dragover", over(true));
  document.addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => { over(false)(event); giveAll(event.dataTransfer.files); });
  try {
    state.words = await (await ask("static/words.json")).json();
    const answer = await ask("v1/functions");
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    state.table = await answer.json();
  } catch (error) {
    $("given").textContent = error instanceof TypeError ? say("lost") : error.message;
    return;
  }
  speak(localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
  giveAll(await opened());
  await look();
  document.body.dataset.ready = "true";
}
begin();
